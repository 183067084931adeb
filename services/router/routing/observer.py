"""What routing tells of itself as it happens."""

from __future__ import annotations

from services.config import Capability


class Observer:
    """Is told of replicas, of attempts and of what becomes of them. This one keeps nothing."""

    def changed(self) -> None:
        """The state of a replica is another than it was, or there are other replicas."""

    def attempted(self, capability: Capability, backend: str, outcome: str, seconds: float) -> None:
        """An attempt ended: `OK`, `CANCELLED`, a value of `Reason`, or `OTHER`."""

    def failed_over(self, capability: Capability, reason: str) -> None:
        """Somebody else, or the same replica again, is asked because of a reason."""

    def hedged(self, capability: Capability, outcome: str) -> None:
        """A second attempt was made beside the first: it `won`, `lost` or `failed`."""

    def ejected(self, capability: Capability, backend: str, endpoint: str) -> None:
        """A replica was taken out for a while."""
