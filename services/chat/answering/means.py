"""What all calls share."""

from __future__ import annotations

import random
from dataclasses import dataclass

from services.chat.answering.meter import Meter
from services.chat.answering.observer import Observer
from services.config import Chat


@dataclass(slots=True)
class Means:
    """What all calls share; `Answering` says what each is. `paid_enabled` may change, and only to false."""

    settings: Chat
    paid_enabled: bool
    meter: Meter
    observer: Observer
    chance: random.Random
