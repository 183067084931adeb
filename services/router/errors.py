"""What only a router has to say."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Final

from services.chassis.errors import CallError, Reason

NO_ROUTE: Final = "the configuration has no route for it; add one under [routes]"


class NoBackend(CallError):
    """No backend could answer."""

    reason = Reason.NO_BACKEND

    def __init__(self, capability: str, detail: str) -> None:
        super().__init__(f"no backend for {capability}: {detail}", metadata={"capability": capability})


class Garbled(CallError):
    """A backend's answer is none to what it was asked.

    Attributes:
        error_id: Under which the log has who answered so.
    """

    reason = Reason.INTERNAL

    def __init__(self) -> None:
        self.error_id = secrets.token_hex(8)
        super().__init__(
            "a backend's answer does not fit what it was asked; it may have another version. "
            f"The router's log has it under this id: {self.error_id}",
            metadata={"errorId": self.error_id},
        )


class UnknownModel(CallError):
    """The configuration names no such model."""

    reason = Reason.MODEL_NOT_FOUND

    def __init__(self, known: Iterable[str]) -> None:
        names = list(known)
        super().__init__(
            f"there is no such model; models here: {', '.join(names) or 'none'}",
            metadata={"models": ",".join(names)},
        )
