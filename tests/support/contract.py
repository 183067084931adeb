"""The contract as tests read it: from the descriptor set, with the comments of the `.proto` files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    MethodOptions,
    ServiceDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool

ROOT: Final = Path(__file__).resolve().parents[2]
PROTO: Final = ROOT / "proto"
DESCRIPTORS: Final = PROTO / "inglenook.binpb"
PREFIX: Final = "inglenook/"

# Numbers of the fields of descriptor.proto, which are what the paths of source locations are made of.
MESSAGES: Final = FileDescriptorProto.MESSAGE_TYPE_FIELD_NUMBER
ENUMS: Final = FileDescriptorProto.ENUM_TYPE_FIELD_NUMBER
SERVICES: Final = FileDescriptorProto.SERVICE_FIELD_NUMBER
PACKAGE: Final = FileDescriptorProto.PACKAGE_FIELD_NUMBER
FIELDS: Final = DescriptorProto.FIELD_FIELD_NUMBER
NESTED_MESSAGES: Final = DescriptorProto.NESTED_TYPE_FIELD_NUMBER
NESTED_ENUMS: Final = DescriptorProto.ENUM_TYPE_FIELD_NUMBER
ONEOFS: Final = DescriptorProto.ONEOF_DECL_FIELD_NUMBER
VALUES: Final = EnumDescriptorProto.VALUE_FIELD_NUMBER
METHODS: Final = ServiceDescriptorProto.METHOD_FIELD_NUMBER

Place: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Element:
    """Something that the contract defines.

    Attributes:
        kind: `package`, `message`, `field`, `oneof`, `enum`, `value`, `service` or `method`.
        name: Full name, for example `inglenook.embed.v1.EmbedRequest.model`.
        path: Where it is in its file, as source locations say it.
    """

    kind: str
    name: str
    path: Place


@cache
def descriptor_set() -> FileDescriptorSet:
    """Return the committed descriptor set."""
    return FileDescriptorSet.FromString(DESCRIPTORS.read_bytes())


def files() -> list[FileDescriptorProto]:
    """Return our own files, in the order of the set."""
    return [file for file in descriptor_set().file if file.name.startswith(PREFIX)]


@cache
def pool() -> DescriptorPool:
    """Return a pool made of nothing but the descriptor set."""
    made = DescriptorPool()
    for file in descriptor_set().file:
        made.Add(file)
    return made


@cache
def comments() -> dict[str, str]:
    """Return the comment of every element by its full name; without a comment, an empty one."""
    found: dict[str, str] = {}
    for file in files():
        written = {
            tuple(location.path): location.leading_comments for location in file.source_code_info.location
        }
        for element in elements(file):
            found[element.name] = " ".join(written.get(element.path, "").split())
    return found


def elements(file: FileDescriptorProto) -> Iterator[Element]:
    """Yield everything that a file defines and a person might read about."""
    yield Element("package", f"{file.package} ({Path(file.name).name})", (PACKAGE,))
    for index, message in enumerate(file.message_type):
        yield from _message(message, file.package, (MESSAGES, index))
    for index, enum in enumerate(file.enum_type):
        yield from _enum(enum, file.package, (ENUMS, index))
    for index, service in enumerate(file.service):
        name = f"{file.package}.{service.name}"
        yield Element("service", name, (SERVICES, index))
        for place, method in enumerate(service.method):
            yield Element("method", f"{name}.{method.name}", (SERVICES, index, METHODS, place))


def _message(message: DescriptorProto, scope: str, path: Place) -> Iterator[Element]:
    name = f"{scope}.{message.name}"
    yield Element("message", name, path)
    for index, field in enumerate(message.field):
        yield Element("field", f"{name}.{field.name}", (*path, FIELDS, index))
    presence = {field.oneof_index for field in message.field if field.proto3_optional}
    for index, oneof in enumerate(message.oneof_decl):
        if index not in presence:  # the compiler makes one for every optional field
            yield Element("oneof", f"{name}.{oneof.name}", (*path, ONEOFS, index))
    for index, nested in enumerate(message.nested_type):
        if not nested.options.map_entry:
            yield from _message(nested, name, (*path, NESTED_MESSAGES, index))
    for index, enum in enumerate(message.enum_type):
        yield from _enum(enum, name, (*path, NESTED_ENUMS, index))


def _enum(enum: EnumDescriptorProto, scope: str, path: Place) -> Iterator[Element]:
    name = f"{scope}.{enum.name}"
    yield Element("enum", name, path)
    for index, value in enumerate(enum.value):
        yield Element("value", f"{name}.{value.name}", (*path, VALUES, index))


def enums() -> Iterator[tuple[str, EnumDescriptorProto]]:
    """Yield every enum, nested ones included, with its full name."""
    for file in files():
        for enum in file.enum_type:
            yield f"{file.package}.{enum.name}", enum
        for name, message in _messages(file):
            for enum in message.enum_type:
                yield f"{name}.{enum.name}", enum


def fields() -> Iterator[tuple[str, FieldDescriptorProto]]:
    """Yield every field, those of nested messages included, with its full name."""
    for file in files():
        for name, message in _messages(file):
            for field in message.field:
                yield f"{name}.{field.name}", field


def _messages(file: FileDescriptorProto) -> Iterator[tuple[str, DescriptorProto]]:
    waiting = [(f"{file.package}.{message.name}", message) for message in file.message_type]
    while waiting:
        name, message = waiting.pop(0)
        if message.options.map_entry:
            continue
        yield name, message
        waiting += [(f"{name}.{nested.name}", nested) for nested in message.nested_type]


def services() -> list[ServiceDescriptor]:
    """Return every service of the contract."""
    return [
        pool().FindServiceByName(f"{file.package}.{service.name}")
        for file in files()
        for service in file.service
    ]


def idempotency(service: str, method: str) -> str:
    """Return the `idempotency_level` of a method, for example `NO_SIDE_EFFECTS`."""
    found = pool().FindServiceByName(service).FindMethodByName(method)
    proto = MethodDescriptorProto()
    found.CopyToProto(proto)
    return MethodOptions.IdempotencyLevel.Name(proto.options.idempotency_level)


def request_messages() -> list[Descriptor]:
    """Return every message that a request is made of, our own ones only."""
    waiting = [method.input_type for service in services() for method in service.methods]
    found: dict[str, Descriptor] = {}
    while waiting:
        message = waiting.pop()
        if message.full_name in found or not message.file.name.startswith(PREFIX):
            continue
        found[message.full_name] = message
        waiting += [field.message_type for field in message.fields if field.message_type is not None]
    return [message for message in found.values() if not message.GetOptions().map_entry]


def shape(field: FieldDescriptor) -> tuple[object, ...]:
    """Return what decides how a field looks on the wire and in code."""
    kind = field.message_type or field.enum_type
    oneof = field.containing_oneof
    return (
        field.name,
        field.number,
        field.type,
        field.is_repeated,
        field.has_presence,
        _entry(field.message_type) if field.message_type is not None else kind and kind.full_name,
        oneof and oneof.name,
    )


def _entry(message: Descriptor) -> object:
    """Return the name of a message type; of a map, whose type is named after its owner, its parts."""
    if not message.GetOptions().map_entry:
        return message.full_name
    return tuple((part.name, part.type) for part in message.fields)
