"""What the makers of messages make: without this, the other tests would prove little."""

from __future__ import annotations

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from inglenook.chat.v1 import ChatRequest, chat_pb2

from tests.fuzz.cluster import SERVED, methods
from tests.fuzz.dice import HALF_BYTES, Seeded
from tests.fuzz.messages import built, drawn, garbled, on_the_wire, varied
from tests.fuzz.real import NAMES, REAL

KIND = chat_pb2.DESCRIPTOR.message_types_by_name["ChatRequest"]


def readable(content: bytes) -> bool:
    """Say whether bytes are a request to chat."""
    try:
        ChatRequest.FromString(content)
    except DecodeError:
        return False
    return True


def test_every_method_that_takes_anything_has_real_requests() -> None:
    """A new method must get one, or only made-up messages would reach it."""
    kinds = {method.input_type for process in SERVED for method in methods(process)}
    assert {kind.full_name for kind in kinds if kind.fields} == REAL.keys()


def test_made_up_messages_use_every_field() -> None:
    """Each field of the type is set in some message, and left out in another."""
    dice = Seeded(1)
    messages = [built(dice, KIND, NAMES) for _ in range(200)]
    for field in KIND.fields:
        count = sum(any(one is field for one, _ in message.ListFields()) for message in messages)
        assert 0 < count < len(messages), field.name


def test_broken_text_and_unknown_fields_are_on_the_wire() -> None:
    """Python would let neither into a message."""
    dice = Seeded(2)
    contents = [on_the_wire(dice, varied(dice, KIND, NAMES)) for _ in range(500)]
    assert any(HALF_BYTES in content for content in contents)
    whole = [ChatRequest.FromString(content) for content in contents if readable(content)]
    assert any(len(UnknownFieldSet(one)) for one in whole)


def test_most_drawn_messages_can_be_read_and_most_garbled_ones_differ() -> None:
    """The first kind gets past the parser; the second kind is for the parser."""
    made = drawn(KIND, NAMES, 50, 3)
    assert sum(map(readable, made)) > len(made) // 2
    damaged = list(garbled(KIND, NAMES, 200, 3))
    assert len(damaged) == 200
    assert 0 < sum(map(readable, damaged)) < 150


def test_a_seed_makes_the_same_messages_again() -> None:
    """So that what was found once can be looked at."""
    assert list(garbled(KIND, NAMES, 50, 4)) == list(garbled(KIND, NAMES, 50, 4))
    assert drawn(KIND, NAMES, 20, 4) == drawn(KIND, NAMES, 20, 4)
