"""Steps of an answer: from the domain to the wire, as single events or as their sum."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from google.protobuf.duration_pb2 import Duration
from inglenook.chat.v1 import (
    Attempt,
    ChatEvent,
    ChatResponse,
    ChatTimings,
    Cost,
    Delta,
    Finish,
    Message,
    Part,
    Role,
    Signature,
    Start,
    ToolCallDelta,
)
from inglenook.chat.v1 import FinishReason as WireFinishReason
from inglenook.common.v1 import Usage as WireUsage

from services.chat.answer import (
    FinishReason,
    ReasoningPiece,
    SignaturePiece,
    TextPiece,
    ToolCallPiece,
    Usage,
    UsageReport,
)
from services.chat.answering.steps import AttemptReport, Finished, Started, Step

NANOSECONDS: Final = 1_000_000_000

REASONS: Final[Mapping[FinishReason, WireFinishReason.ValueType]] = {
    "stop": WireFinishReason.FINISH_REASON_STOP,
    "length": WireFinishReason.FINISH_REASON_LENGTH,
    "tool_calls": WireFinishReason.FINISH_REASON_TOOL_CALLS,
    "content_filter": WireFinishReason.FINISH_REASON_CONTENT_FILTER,
}
UNKNOWN_USAGE: Final = Usage()


class EventWriter:
    """Writes the steps of one answer as events.

    Args:
        response_id: Identifies the answer.
        model: Public name of the model.
    """

    def __init__(self, response_id: str, model: str) -> None:
        self._response_id = response_id
        self._model = model
        self._provider = ""

    def events(self, steps: Sequence[Step]) -> Iterator[ChatEvent]:
        """Yield the events of steps that arrived together; pieces of one part become one event."""
        for step in merged(steps):
            match step:
                case TextPiece(part, text):
                    yield ChatEvent(delta=Delta(part_index=part, text=text))
                case ReasoningPiece(part, text):
                    yield ChatEvent(delta=Delta(part_index=part, reasoning=text))
                case ToolCallPiece(part, identity, name, arguments):
                    call = ToolCallDelta(id=identity, name=name, arguments=arguments)
                    yield ChatEvent(delta=Delta(part_index=part, tool_call=call))
                case SignaturePiece(part, data):
                    signature = Signature(provider=self._provider, data=data)
                    yield ChatEvent(delta=Delta(part_index=part, signature=signature))
                case UsageReport(total):
                    yield ChatEvent(usage=wire_usage(total))
                case Started(provider, upstream_model):
                    self._provider = provider
                    yield ChatEvent(
                        start=Start(
                            response_id=self._response_id,
                            model=self._model,
                            provider=provider,
                            upstream_model=upstream_model,
                        )
                    )
                case Finished():
                    yield ChatEvent(finish=wire_finish(step))


class ResponseWriter:
    """Adds the steps of one answer up to a response. Arguments are those of `EventWriter`."""

    def __init__(self, response_id: str, model: str) -> None:
        self._response = ChatResponse(response_id=response_id, model=model)
        self._texts: dict[int, list[str]] = {}
        self._parts: dict[int, Part] = {}

    def add(self, steps: Iterable[Step]) -> None:
        """Take in steps."""
        for step in steps:
            match step:
                case TextPiece(part, text):
                    self._append(part, text)
                case ReasoningPiece(part, text):
                    self._part(part).reasoning.SetInParent()
                    self._append(part, text)
                case ToolCallPiece(part, identity, name, arguments):
                    call = self._part(part).tool_call
                    call.id, call.name = call.id or identity, call.name or name
                    self._append(part, arguments)
                case SignaturePiece(part, data):
                    signature = self._part(part).signature
                    signature.provider, signature.data = self._response.provider, data
                case Started(provider, upstream_model):
                    self._response.provider, self._response.upstream_model = provider, upstream_model
                case Finished():
                    self._response.finish.CopyFrom(wire_finish(step))
                case UsageReport():
                    pass  # the total is in `Finished`

    def response(self) -> ChatResponse:
        """Return the whole answer."""
        for position, texts in self._texts.items():
            part, text = self._part(position), "".join(texts)
            match part.WhichOneof("kind"):
                case "reasoning":
                    part.reasoning.text = text
                case "tool_call":
                    part.tool_call.arguments = text
                case _:
                    part.text = text
        for part in self._parts.values():
            if part.WhichOneof("kind") is None:
                part.reasoning.SetInParent()  # all that the provider gave of it is its signature
        parts = [self._parts[position] for position in sorted(self._parts)]
        self._response.message.CopyFrom(Message(role=Role.ROLE_ASSISTANT, parts=parts))
        return self._response

    def _part(self, position: int) -> Part:
        return self._parts.setdefault(position, Part())

    def _append(self, position: int, text: str) -> None:
        self._part(position)
        self._texts.setdefault(position, []).append(text)


def merged(steps: Sequence[Step]) -> Iterator[Step]:
    """Yield steps, with neighbouring pieces of one part made into one piece.

    Every message costs both sides about the same, however short it is.
    """
    alike: list[Step] = []
    for step in steps:
        if alike and not _goes_on(alike[0], step):
            yield _joined(alike)
            alike = []
        alike.append(step)
    if alike:
        yield _joined(alike)


def _goes_on(one: Step, other: Step) -> bool:
    match one, other:
        case (TextPiece(part), TextPiece(other_part)) | (ReasoningPiece(part), ReasoningPiece(other_part)):
            return part == other_part
        case ToolCallPiece(part), ToolCallPiece(other_part, "", ""):
            return part == other_part
        case UsageReport(), UsageReport():
            return True  # each replaces the one before
    return False


def _joined(alike: Sequence[Step]) -> Step:
    """Return steps of which each goes on with the one before as one step."""
    match alike[0]:
        case _ if len(alike) == 1:
            return alike[0]
        case TextPiece(part):
            return TextPiece(part, "".join(one.text for one in alike if isinstance(one, TextPiece)))
        case ReasoningPiece(part):
            return ReasoningPiece(part, "".join(one.text for one in alike if isinstance(one, ReasoningPiece)))
        case ToolCallPiece(part, identity, name):
            texts = [one.arguments for one in alike if isinstance(one, ToolCallPiece)]
            return ToolCallPiece(part, identity, name, "".join(texts))
        case _:
            return alike[-1]


def wire_usage(usage: Usage) -> WireUsage:
    """Return tokens used; what is unknown stays absent."""
    return WireUsage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_input_tokens=usage.cached_input_tokens,
        cache_write_input_tokens=usage.cache_write_input_tokens,
        reasoning_tokens=usage.reasoning_tokens,
    )


def wire_finish(finished: Finished) -> Finish:
    """Return how an answer ended."""
    total, upstream = finished.total_seconds, finished.upstream_seconds
    first = finished.first_token_seconds
    return Finish(
        reason=REASONS[finished.reason],
        usage=_known_usage(finished.usage),
        cost=_cost(finished.cost_nano_usd),
        attempts=[_attempt(one) for one in finished.attempts],
        timings=ChatTimings(
            total_time=_duration(total),
            first_token_time=None if first is None else _duration(first),
            upstream_time=_duration(upstream),
            overhead_time=_duration(max(0.0, total - upstream)),
        ),
    )


def _attempt(report: AttemptReport) -> Attempt:
    return Attempt(
        provider=report.provider,
        upstream_model=report.upstream_model,
        reason=report.reason,
        upstream_status=report.status,
        elapsed_time=_duration(report.seconds),
        usage=_known_usage(report.usage),
        cost=_cost(report.cost_nano_usd),
    )


def _known_usage(usage: Usage) -> WireUsage | None:
    return None if usage == UNKNOWN_USAGE else wire_usage(usage)


def _cost(nano_usd: int | None) -> Cost | None:
    return None if nano_usd is None else Cost(nano_usd=nano_usd)


def _duration(seconds: float) -> Duration:
    whole, rest = divmod(int(seconds * NANOSECONDS), NANOSECONDS)
    return Duration(seconds=whole, nanos=rest)
