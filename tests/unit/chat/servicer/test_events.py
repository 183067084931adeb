from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from inglenook.chat.v1 import ChatEvent, ChatResponse, FinishReason

from services.chat.answer import (
    ReasoningPiece,
    SignaturePiece,
    TextPiece,
    ToolCallPiece,
    Usage,
    UsageReport,
)
from services.chat.answering.steps import AttemptReport, Finished, Started, Step
from services.chat.servicer.events import EventWriter, ResponseWriter, merged

STARTED = Started("ollama", "gemma3n:e2b")
USAGE = Usage(input_tokens=7, output_tokens=3)
ATTEMPT = AttemptReport("ollama", "gemma3n:e2b", "", None, 0.5, USAGE, 0)
FINISHED = Finished("stop", USAGE, 0, (ATTEMPT,), 0.75, 0.25, 0.5)


def events(*steps: Step) -> list[ChatEvent]:
    """Return the events of steps that arrive together."""
    return list(EventWriter("resp_1", "assistant").events(steps))


def response(*steps: Step) -> ChatResponse:
    """Return the response that steps add up to."""
    writer = ResponseWriter("resp_1", "assistant")
    writer.add(steps)
    return writer.response()


def test_start_names_who_really_answers() -> None:
    """Not only the public name, but the provider and its model."""
    (event,) = events(STARTED)
    assert (event.start.response_id, event.start.model) == ("resp_1", "assistant")
    assert (event.start.provider, event.start.upstream_model) == ("ollama", "gemma3n:e2b")


def test_pieces_that_wait_become_one_event() -> None:
    """Every message costs the same, so what is there already is sent in one."""
    made = events(TextPiece(0, "Hel"), TextPiece(0, "lo"), TextPiece(1, "!"), ToolCallPiece(2, "c", "f", "{"))
    assert [(one.delta.part_index, one.delta.text) for one in made[:2]] == [(0, "Hello"), (1, "!")]
    assert made[2].delta.tool_call.name == "f"


def test_pieces_of_two_tool_calls_are_not_mixed_up() -> None:
    """A piece that begins a call never joins the one before it."""
    first, second = ToolCallPiece(0, "a", "f", "{"), ToolCallPiece(0, "b", "f", "}")
    assert list(merged([first, second])) == [first, second]


@given(
    st.lists(
        st.builds(TextPiece, st.integers(0, 2), st.text(min_size=1))
        | st.builds(ReasoningPiece, st.integers(0, 2), st.text(min_size=1))
    )
)
def test_merging_changes_no_text(pieces: list[TextPiece | ReasoningPiece]) -> None:
    """Whatever arrives together, each part has the same text afterwards, in the same order."""

    def texts(steps: list[Step]) -> list[tuple[type, int, str]]:
        told: list[tuple[type, int, str]] = []
        for step in steps:
            assert isinstance(step, TextPiece | ReasoningPiece)
            if told and told[-1][:2] == (type(step), step.part):
                told[-1] = (type(step), step.part, told[-1][2] + step.text)
            else:
                told.append((type(step), step.part, step.text))
        return told

    assert texts(list(merged(pieces))) == texts(list(pieces))


def test_finish_tells_attempts_money_and_time() -> None:
    """What was tried, what it cost and where the time went."""
    finish = events(FINISHED)[0].finish
    assert finish.reason == FinishReason.FINISH_REASON_STOP
    assert (finish.usage.input_tokens, finish.cost.nano_usd) == (7, 0)
    assert finish.HasField("cost")
    assert finish.attempts[0].provider == "ollama"
    assert not finish.attempts[0].HasField("upstream_status")
    assert finish.timings.overhead_time.ToMilliseconds() == 250


def test_unknown_is_absent_not_zero() -> None:
    """Usage and cost that nobody told are not made up."""
    unknown = Finished("stop", Usage(), None, (), 1.0, None, 1.0)
    finish = events(unknown)[0].finish
    assert not finish.HasField("usage")
    assert not finish.HasField("cost")
    assert not finish.timings.HasField("first_token_time")
    partly = events(UsageReport(Usage(output_tokens=0)))[0].usage
    assert partly.HasField("output_tokens")
    assert not partly.HasField("input_tokens")


def test_response_is_ready_to_be_appended_to_the_conversation() -> None:
    """Parts come in order, with their signatures and whole arguments."""
    answer = response(
        STARTED,
        ReasoningPiece(0, "hm"),
        SignaturePiece(0, b"sig"),
        TextPiece(1, "Let me "),
        ToolCallPiece(2, "c1", "weather", '{"city":'),
        TextPiece(1, "look."),
        ToolCallPiece(2, "", "", '"Ulm"}'),
        SignaturePiece(3, b"redacted"),
        FINISHED,
    )
    reasoning, text, call, redacted = answer.message.parts
    assert (reasoning.reasoning.text, reasoning.signature.provider) == ("hm", "ollama")
    assert reasoning.signature.data == b"sig"
    assert text.text == "Let me look."
    assert (call.tool_call.id, call.tool_call.name) == ("c1", "weather")
    assert call.tool_call.arguments == '{"city":"Ulm"}'
    assert redacted.WhichOneof("kind") == "reasoning"
    assert answer.finish.reason == FinishReason.FINISH_REASON_STOP
