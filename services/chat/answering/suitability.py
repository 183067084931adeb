"""What speaks against asking a target, as far as that is known without asking it."""

from __future__ import annotations

from dataclasses import dataclass

from services.chassis.errors import CallError
from services.chat.answering.means import Means
from services.chat.answering.target import Target
from services.chat.conversation import Conversation
from services.chat.errors import InputTooLong, NotSupported, PaidDisabled
from services.chat.providers.facts import UNKNOWN, Facts
from services.chat.providers.failure import Failure


@dataclass(slots=True)
class Demand:
    """What a call asks of any target.

    Attributes:
        conversation: What is asked.
        means: Says whether targets that cost money may be called.
        longer_than: Tokens that the conversation has turned out to be longer than.
    """

    conversation: Conversation
    means: Means
    longer_than: int = 0

    async def examine(self, target: Target) -> Facts:
        """Return what is known of a target, if nothing in it speaks against asking it.

        Raises:
            CallError: Something does: PaidDisabled, NotSupported or InputTooLong.
            Failure: Its provider cannot say, and has to: a model of a local provider may turn out to be paid.
        """
        if target.is_paid and not self.means.paid_enabled:
            raise PaidDisabled(target.name)
        try:
            facts = await target.facts()
        except Failure:
            if not self.means.paid_enabled:
                raise
            facts = target.configured(UNKNOWN)
        if obstacle := self._obstacle(target, facts):
            raise obstacle
        return facts

    def check_paid(self, target: Target, facts: Facts) -> None:
        """Refuse what has become too dear while something was waited for.

        Raises:
            PaidDisabled: The target costs money, and nothing may any more.
        """
        if (target.is_paid or facts.remote) and not self.means.paid_enabled:
            raise PaidDisabled(target.name)

    def _obstacle(self, target: Target, facts: Facts) -> CallError | None:
        if facts.remote and not self.means.paid_enabled:
            return PaidDisabled(target.name)
        for able, needed, field, what in self._needs(facts):
            if needed and able is False:
                message = f"{target.name}: the model cannot {what}"
                return NotSupported(message, violations=[(field, f"needs a model that can {what}")])
        if facts.context_length is not None and facts.context_length <= self.longer_than:
            message = f"{target.name}: the model reads {facts.context_length} tokens, fewer than there are"
            return InputTooLong(message, violations=[("messages", "are too long together")])
        return None

    def _needs(self, facts: Facts) -> list[tuple[bool | None, bool, str, str]]:
        """Return abilities: whether the model has it, whether it is needed, by which field, its name."""
        asked = self.conversation
        calls_tools = bool(asked.tools) and (asked.tool_choice.mode != "none" or bool(asked.tool_choice.tool))
        thinks = asked.effort not in {None, "none"} or asked.reasoning_tokens is not None
        return [
            (facts.chat, True, "model", "chat"),
            (facts.tools, calls_tools, "tools", "call tools"),
            (facts.images, asked.has_images, "messages", "see images"),
            (facts.reasoning, thinks, "reasoning", "think before it answers"),
        ]
