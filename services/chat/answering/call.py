"""What one caller asks for, and of whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.chat.answering.target import Target
from services.chat.conversation import Conversation
from services.chat.providers.exchange import Timers


@dataclass(frozen=True, slots=True)
class Call:
    """One call.

    Attributes:
        response_id: Identifies the answer. Tool calls that have no id get `call_<response_id>_<n>`.
        targets: Who may answer, in order; at least one.
        conversation: What is asked. Defaults of the configuration are filled in.
        timers: How long a target may be silent.
        total_seconds: How long the call may take over all attempts.
        deadline: When the caller stops waiting, as time of the event loop; None if it did not say.
        weights: By names of targets, as `ChatModel.weights`.
        hold: Pass nothing on before the answer is complete. A failure in the middle is then dealt with like
            one at the beginning. Implied by a response format other than text.
        context_length: Context to ask for, where a provider lets one choose; None leaves it to the provider.
    """

    response_id: str
    targets: tuple[Target, ...]
    conversation: Conversation
    timers: Timers
    total_seconds: float
    deadline: float | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    hold: bool = False
    context_length: int | None = None
