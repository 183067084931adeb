"""Python's interpreter and gRPC's core, set for a server.

docs/decisions/0007-interpreter-settings.md has the measurements behind each of these.
"""

from __future__ import annotations

import gc
import sys
from typing import Final

YOUNG_THRESHOLD: Final = 20_000
"""Objects allocated and not freed before the collector looks at the young ones."""

SWITCH_SECONDS: Final = 0.0005
"""How long a thread that wants Python's lock waits before it asks the holder to let go. With the default of
5 ms a worker that has finished a batch can stand still for as long as the event loop has work."""


def settle() -> None:
    """Take all that exists now for permanent, look for garbage less often, and change threads sooner.

    Nearly everything that a call allocates is freed by reference counting. What remains for the collector
    is to walk through modules that live as long as the process, over and over.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_THRESHOLD, 20, 50)
    sys.setswitchinterval(SWITCH_SECONDS)
