"""Answers calls: the one thing of this package that others need."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator

from services.chat.answering.asking import Asking
from services.chat.answering.call import Call
from services.chat.answering.means import Means
from services.chat.answering.meter import Meter
from services.chat.answering.observer import Observer
from services.chat.answering.steps import Step
from services.config import Chat


class Answering:
    """Answers calls.

    Args:
        settings: `[chat]`.
        paid_enabled: Whether targets that cost money may be called.
        meter: Says whether an attempt may be paid for, and what it cost.
        observer: Is told what happens.
        chance: Draws weights and back-offs. Default: an own one.
    """

    def __init__(
        self,
        settings: Chat,
        paid_enabled: bool,
        meter: Meter,
        observer: Observer,
        chance: random.Random | None = None,
    ) -> None:
        self._means = Means(settings, paid_enabled, meter, observer, chance or random.Random())

    def forbid_paid(self) -> None:
        """Begin no attempt any more that costs money, whatever call it is for."""
        self._means.paid_enabled = False

    def answer(self, call: Call) -> AsyncGenerator[list[Step], None]:
        """Yield the steps of the answer, as many at a time as there are.

        The first list begins with `Started` and reaches to the first content, the last one ends with
        `Finished`. Iterate to the end, which comes at most a quarter of a second after `Finished`: the
        connection can be used again then. Whoever stops before that closes the generator, with
        `contextlib.aclosing`: what is going on upstream ends with it.

        Raises:
            CallError: There is no answer, or it broke off.
        """
        return Asking(self._means, call).steps()
