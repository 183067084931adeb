"""What callers see of models that providers run: who answers, and whether they could be asked now."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from inglenook.common.v1 import Capability, ModelInfo, ModelState, TargetInfo, TargetState

from services.chat.answering.breaker import State
from services.chat.answering.target import Target
from services.chat.models import Served
from services.chat.providers.disabled import PAID_IS_OFF
from services.chat.providers.facts import UNKNOWN, Facts
from services.chat.providers.failure import Failure
from services.config import ChatModel, RemoteEmbedModel

CHECK_SECONDS: Final = 1.5
"""How long a provider may take to say whether it has a model; after that it counts as unreachable. Less than
the router waits for a list of models: one that hangs must not hide the others."""

MOST_TOKENS: Final = 2**31 - 1
"""What the contract has room for; providers may say anything."""

STATES: Final[Mapping[State, TargetState.ValueType]] = {
    State.HEALTHY: TargetState.TARGET_STATE_HEALTHY,
    State.EJECTED: TargetState.TARGET_STATE_EJECTED,
    State.PROBING: TargetState.TARGET_STATE_PROBING,
    State.COOLING: TargetState.TARGET_STATE_COOLING,
}
DETAILS: Final[Mapping[State, str]] = {
    State.EJECTED: "it failed several times in a row",
    State.PROBING: "it failed several times in a row and is being tried again",
    State.COOLING: "its provider asked to be left alone for a while",
}
CALLABLE: Final = frozenset(STATES.values())


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check of a target found: facts, and what keeps it from being called; empty if nothing does."""

    facts: Facts
    state: TargetState.ValueType
    detail: str


async def model_info(
    served: Served[ChatModel] | Served[RemoteEmbedModel],
    *,
    paid: bool,
    seconds: float | None = CHECK_SECONDS,
) -> ModelInfo:
    """Return what callers see of a model; its targets are checked now, unless nobody is to be asked.

    Args:
        served: The model.
        paid: Whether paid targets may be called.
        seconds: How long that may take; None to tell what is known without asking.
    """
    findings = await asyncio.gather(*(_check(target, seconds, paid=paid) for target in served.targets))
    targets = [
        _target_info(target, finding) for target, finding in zip(served.targets, findings, strict=True)
    ]
    usable = next((one for one in targets if one.state in CALLABLE), None)
    chat = isinstance(served.section, ChatModel)
    info = ModelInfo(
        name=served.name,
        capability=Capability.CAPABILITY_CHAT if chat else Capability.CAPABILITY_EMBED,
        state=ModelState.MODEL_STATE_READY if usable else ModelState.MODEL_STATE_FAILED,
        state_detail="" if usable else "none of its targets can be called",
        fingerprint=served.fingerprint,
        targets=[target.name for target in served.targets],
        target_infos=targets,
    )
    if isinstance(served.section, RemoteEmbedModel) and served.section.dimensions is not None:
        info.dimensions = served.section.dimensions
    if usable is not None and usable.HasField("context_length"):
        info.max_input_tokens = usable.context_length
    return info


async def _check(target: Target, seconds: float | None, *, paid: bool) -> Finding:
    if target.is_paid and not paid:
        return Finding(target.configured(UNKNOWN), TargetState.TARGET_STATE_DISABLED, PAID_IS_OFF)
    if seconds is None:
        return _standing(target, target.configured(UNKNOWN))
    try:
        async with asyncio.timeout(seconds):
            await target.provider.check(target.upstream_model)
            facts = await target.facts()
    except Failure as failure:
        return Finding(target.configured(UNKNOWN), TargetState.TARGET_STATE_UNREACHABLE, str(failure))
    except TimeoutError:
        detail = f"its provider did not answer within {seconds:g} s"
        return Finding(target.configured(UNKNOWN), TargetState.TARGET_STATE_UNREACHABLE, detail)
    if facts.remote and not paid:
        return Finding(facts, TargetState.TARGET_STATE_DISABLED, PAID_IS_OFF)
    return _standing(target, facts)


def _standing(target: Target, facts: Facts) -> Finding:
    state = target.breaker.standing().state
    return Finding(facts, STATES[state], DETAILS.get(state, ""))


def _target_info(target: Target, finding: Finding) -> TargetInfo:
    facts = finding.facts
    return TargetInfo(
        provider=target.provider.name,
        upstream_model=target.upstream_model,
        state=finding.state,
        state_detail=finding.detail,
        paid=target.is_paid or bool(facts.remote),
        context_length=None if facts.context_length is None else min(facts.context_length, MOST_TOKENS),
        tools=facts.tools,
        images=facts.images,
        reasoning=facts.reasoning,
        json_schema=facts.json_schema,
    )
