"""Messages of any type, made from its descriptor, and bytes that are none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, Phase, given, seed, settings, strategies

from tests.fuzz.dice import CANARY, HALF, HALF_BYTES, INTEGERS, Dice, Drawn, Seeded, chance
from tests.fuzz.real import REAL

MAX_DEPTH: Final = 5
LENGTHS: Final = (0, 1, 1, 1, 2, 2, 3, 5, 20)
MANY: Final = 1_100
"""Items of a list that is longer than any limit; rare."""
BLOCK: Final = 4096
CHANGED_PERCENT: Final = 4
RANGES: Final[Mapping[int, tuple[int, int]]] = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_ENUM: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


def built(dice: Dice, kind: Descriptor, names: Sequence[str], depth: int = 0) -> Message:
    """Return a message; `names` are what fields called `model` mostly hold."""
    message: Any = GetMessageClass(kind)()
    for field in kind.fields:
        if chance(dice, 60 if depth < MAX_DEPTH else 10):
            _fill(dice, message, field, names, depth)
    return message  # type: ignore[no-any-return]  # made from a descriptor


def varied(dice: Dice, kind: Descriptor, names: Sequence[str]) -> Message:
    """Return a real message with some fields changed; one that was made up, where there is no real one."""
    if kind.full_name not in REAL or chance(dice, 10):
        return built(dice, kind, names)
    message = type(REAL[kind.full_name][0])()
    message.CopyFrom(dice.one_of(REAL[kind.full_name]))
    _vary(dice, message, names, 0)
    return message


def on_the_wire(dice: Dice, message: Message) -> bytes:
    """Return the bytes of a message, with what Python would not let in: broken text, unknown fields."""
    content = message.SerializeToString().replace(HALF.encode(), HALF_BYTES)
    if chance(dice, 10):
        content += _varint(dice.number(1, 2**29 - 1) << 3 | dice.number(0, 5)) + dice.data(12)
    return content


def drawn(kind: Descriptor, names: Sequence[str], count: int, start: int) -> list[bytes]:
    """Return messages that hypothesis makes; where a type has too little to vary, the rest is seeded."""
    found: list[bytes] = []

    @strategies.composite
    def messages(draw: Callable[[strategies.SearchStrategy[Any]], Any]) -> bytes:
        dice = Drawn(draw)
        return on_the_wire(dice, varied(dice, kind, names))

    @seed(start)
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(messages())
    def collect(content: bytes) -> None:
        found.append(content)

    collect()
    dice = Seeded(start)
    found += [on_the_wire(dice, varied(dice, kind, names)) for _ in range(count - len(found))]
    return found[:count]


def garbled(kind: Descriptor, names: Sequence[str], count: int, start: int) -> Iterator[bytes]:
    """Yield bytes: any at all, messages that were damaged, and fields that make no message."""
    dice = Seeded(start)
    for number in range(count):
        if number % 4 == 0:
            yield dice.data(300)
        elif number % 4 == 1:
            pieces = (_varint(dice.number(0, 2 ** dice.number(3, 34))) + dice.data(20) for _ in range(4))
            yield b"".join(pieces)
        elif number % 1000 == 2:
            yield dice.data(1) * dice.number(1, 9 * 2**20)
        else:
            yield _damaged(dice, on_the_wire(dice, varied(dice, kind, names)))


def _fill(dice: Dice, message: Any, field: FieldDescriptor, names: Sequence[str], depth: int) -> None:
    place = getattr(message, field.name)
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        for _ in range(dice.one_of(LENGTHS)):
            place[dice.text().replace(CANARY, "")] = dice.text().replace(CANARY, "")
    elif field.is_repeated:
        length = MANY if chance(dice, 1) and chance(dice, 20) else dice.one_of(LENGTHS)
        items = [_value(dice, field, names, depth) for _ in range(min(length, 20))]
        while items and len(items) < length:
            items += items[: length - len(items)]
        place.extend(items)
    elif kind is not None:
        place.CopyFrom(built(dice, kind, names, depth + 1))
    else:
        setattr(message, field.name, _value(dice, field, names, depth))


def _vary(dice: Dice, message: Any, names: Sequence[str], depth: int) -> None:
    """Change a field now and then, here and in the messages within."""
    for field in message.DESCRIPTOR.fields:
        if chance(dice, CHANGED_PERCENT):
            message.ClearField(field.name)
            _fill(dice, message, field, names, depth)
        elif field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        elif field.is_repeated:
            for one in getattr(message, field.name):
                _vary(dice, one, names, depth + 1)
        elif message.HasField(field.name):
            _vary(dice, getattr(message, field.name), names, depth + 1)


def _value(dice: Dice, field: FieldDescriptor, names: Sequence[str], depth: int) -> Any:
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_MESSAGE:
        assert field.message_type is not None
        return built(dice, field.message_type, names, depth + 1)
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return dice.data(100) if field.type == FieldDescriptor.TYPE_BYTES else _text(dice, field.name, names)
    if kind in RANGES:
        return _integer(dice, field, *RANGES[kind])
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return chance(dice, 50)
    return dice.real()


def _text(dice: Dice, name: str, names: Sequence[str]) -> str:
    if name != "model":
        return dice.text()
    # A name that could be one is told to its sender, on purpose.
    return dice.one_of(names) if chance(dice, 85) else dice.text().replace(CANARY, "x")


def _integer(dice: Dice, field: FieldDescriptor, lowest: int, highest: int) -> int:
    if field.enum_type is not None and chance(dice, 80):
        return dice.one_of([value.number for value in field.enum_type.values])
    found = dice.one_of(INTEGERS) if chance(dice, 80) else dice.number(lowest, highest)
    return min(max(found, lowest), highest)


def _damaged(dice: Dice, content: bytes) -> bytes:
    damaged = bytearray(content[:BLOCK])
    for _ in range(dice.number(1, 4)):
        place = dice.number(0, max(0, len(damaged) - 1))
        how = dice.number(0, 3)
        if how == 0 and damaged:
            damaged[place] ^= 1 << dice.number(0, 7)
        elif how == 1:
            del damaged[place : place + dice.number(1, 8)]
        elif how == 2:
            damaged[place:place] = dice.data(6)
        else:
            damaged[place:place] = damaged[: dice.number(0, 40)]
    return bytes(damaged)


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])
