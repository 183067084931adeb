"""Having backends compute items: in one piece, or in parts that several replicas share."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import cast

import grpc
from inglenook.common.v1 import Timings

from services.chassis.errors import Relayed
from services.router.items.call import Call
from services.router.items.question import Part, Question, Unfit
from services.router.routing.call import Metadata


@dataclass(frozen=True, slots=True)
class Computed:
    """What backends computed for a call.

    Attributes:
        values: One per item that was asked for, in order.
        lasting: Whether they may be kept.
        fingerprint: Fingerprint of the model that computed them; empty if that is not known.
        united: One model has computed all of them.
        model: Its public name.
        input_tokens: Tokens of all of them; None if one backend does not say.
        timings: Where the time of each part went.
        trailing: Trailing metadata of all parts.
    """

    values: Sequence[bytes]
    lasting: bool
    fingerprint: str
    united: bool
    model: str
    input_tokens: int | None
    timings: Sequence[Timings]
    trailing: Metadata


def cut(positions: Sequence[int], width: int, split_inputs: int) -> list[Sequence[int]]:
    """Return positions in parts of nearly one size, for at most `width` replicas.

    Up to `split_inputs` items stay together. Beyond that a part has at least half as many, so that a few
    items too many do not cost as many calls as there are replicas.
    """
    count = len(positions)
    if not split_inputs or count <= split_inputs or width < 2:  # noqa: PLR2004  # one replica, one part
        return [positions]
    parts = max(1, min(width, count // max(1, split_inputs // 2)))
    edges = [count * part // parts for part in range(parts + 1)]
    return [positions[first:last] for first, last in pairwise(edges)]


async def compute(call: Call, question: Question, positions: Sequence[int]) -> Computed:
    """Have the items at these positions computed, in parts if there are many. Errors: those of `ask`."""
    parts = cut(positions, call.route.width, call.split_inputs)
    if len(parts) == 1:
        return await ask(call, question, positions)
    try:
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(ask(call, question, part)) for part in parts]
    except BaseExceptionGroup as errors:
        failure = _first(errors)
    else:
        return join([one.result() for one in asked])
    raise failure  # out here, so that it keeps its own cause and nobody hears of a group


async def ask(call: Call, question: Question, positions: Sequence[int]) -> Computed:
    """Have one backend compute the items at these positions.

    Raises:
        Unfit: It refuses them, and what it says of them is not what it would say of the call.
        Garbled: Its answer is none to what it was asked, nor is that of another replica, if there is one.
        NoBackend: No replica could answer.
        DeadlinePassed: The deadline passed first.
        Relayed: A replica answered with an error.
    """
    read = partial(_read, question, len(positions))
    try:
        answer = await call.route.unary(call.ask(question.method, question.request(positions), read))
    except Relayed as error:
        whole = question.exact and positions == range(question.count)
        if error.code is grpc.StatusCode.INVALID_ARGUMENT and not whole:
            raise Unfit from error
        raise
    part = cast("Part | Unfit", answer.read)
    if isinstance(part, Unfit):
        raise part
    return Computed(
        values=part.values,
        lasting=part.lasting,
        fingerprint=answer.fingerprint,
        united=True,
        model=part.model,
        input_tokens=part.input_tokens,
        timings=[part.timings],
        trailing=answer.trailing,
    )


def _read(question: Question, count: int, content: bytes) -> Part | Unfit:
    """Return what a response holds. That it is of no use to the caller is no fault of the replica's.

    Raises:
        Garbled: It is none to a request for so many items.
    """
    try:
        return question.read(content, count)
    except Unfit as unfit:
        return unfit


def join(parts: Sequence[Computed]) -> Computed:
    """Return parts as one, in order. They are united if all tell the same fingerprint."""
    fingerprints = {part.fingerprint for part in parts}
    tokens = [part.input_tokens for part in parts]
    known = [count for count in tokens if count is not None]
    fingerprint = fingerprints.pop() if len(fingerprints) == 1 else ""
    return Computed(
        values=[value for part in parts for value in part.values],
        lasting=all(part.lasting for part in parts),
        fingerprint=fingerprint,
        united=bool(fingerprint),
        model=parts[0].model,
        input_tokens=sum(known) if len(known) == len(tokens) else None,
        timings=[timing for part in parts for timing in part.timings],
        trailing=tuple(dict.fromkeys(entry for part in parts for entry in part.trailing)),
    )


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error that is told; what the backend would say of the call as a whole goes first."""
    unfit = [error for error in errors.exceptions if isinstance(error, Unfit)]
    return (unfit or errors.exceptions)[0]
