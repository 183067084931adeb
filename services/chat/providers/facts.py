"""What a target can do, as far as anybody knows."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Final


@dataclass(frozen=True, slots=True)
class Facts:
    """Capabilities of one model at one provider. None is unknown, and then it is tried.

    Attributes:
        context_length: Most tokens of a conversation, answer included.
        tools: It can call tools.
        images: It can see images.
        reasoning: It can think before it answers.
        json_schema: Its provider can hold it to a JSON schema.
        json: Its provider can hold it to JSON without a schema.
        remote: It does not run where its provider runs: what is said leaves the house.
        chat: It can be talked with at all.
    """

    context_length: int | None = None
    tools: bool | None = None
    images: bool | None = None
    reasoning: bool | None = None
    json_schema: bool | None = None
    json: bool | None = None
    remote: bool | None = None
    chat: bool | None = None

    def overwritten(self, better: Facts) -> Facts:
        """Return this with everything that `better` knows in its place."""
        known = {one.name: getattr(better, one.name) for one in fields(better)}
        return replace(self, **{name: value for name, value in known.items() if value is not None})


UNKNOWN: Final = Facts()
"""Nothing is known."""
