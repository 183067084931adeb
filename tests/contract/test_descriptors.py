"""How the contract is written: its comments, names and types, and what Python makes of them."""

from __future__ import annotations

import importlib
import re

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

from services.chassis.errors import Reason
from tests.support.contract import (
    PREFIX,
    PROTO,
    comments,
    descriptor_set,
    elements,
    enums,
    fields,
    files,
    request_messages,
)
from tests.support.reasons import REASON

PACKAGES = sorted({file.package for file in files()})

BOUND = re.compile(
    r"\bat most\b|\bor more\b|(?<!from )\b\d+ to\b|\bRequired\b|\bMust\b|\bmust not be empty\b|\bNone may\b"
)
SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
MOMENT = re.compile(r"(^|_)(at|since|timestamp)$")
SPAN = re.compile(r"(^|_)(time|uptime|duration|timeout|ttl|age|delay|ns|us|ms|millis|seconds|minutes)$")


def test_everything_in_the_contract_is_explained() -> None:
    """Packages, services, methods, messages, fields, oneofs, enums and values each have a comment."""
    silent = [name for name, comment in comments().items() if not comment]
    assert silent == []


def test_explanations_are_sentences() -> None:
    """A comment is more than the name again: it ends like a sentence and has words of its own."""
    short = [
        name
        for name, comment in comments().items()
        if not comment.endswith((".", ".)", ".`"))
        or comment.rstrip(".").lower() == name.rpartition(".")[2].replace("_", " ")
    ]
    assert short == []


def test_methods_tell_their_errors_and_whether_they_may_be_repeated() -> None:
    """A caller can write its error handling and its retries from the comment alone."""
    methods = {
        element.name: comments()[element.name]
        for file in files()
        for element in elements(file)
        if element.kind == "method"
    }
    assert [name for name, comment in methods.items() if "Errors:" not in comment] == []
    told = re.compile(r"[Ss]afe to (retry|repeat)")
    assert [name for name, comment in methods.items() if not told.search(comment)] == []


def test_bounded_request_fields_name_the_reason_of_a_refusal() -> None:
    """Where a comment sets a bound, it says what happens beyond it."""
    bounded = {
        field.full_name: comments()[field.full_name]
        for message in request_messages()
        for field in message.fields
        if BOUND.search(comments()[field.full_name])
    }
    assert len(bounded) > 30
    assert [name for name, comment in bounded.items() if not set(Reason) & set(REASON.findall(comment))] == []


def test_optional_request_fields_state_their_default() -> None:
    """Leaving a field out has a meaning, and the meaning is written down."""
    optional = {
        field.full_name: comments()[field.full_name]
        for message in request_messages()
        for field in message.fields
        if field.has_presence and field.message_type is None and _is_optional(field.full_name)
    }
    assert optional
    assert [name for name, comment in optional.items() if "Default" not in comment] == []


def test_enums_begin_with_a_value_for_not_set() -> None:
    """Zero is `…_UNSPECIFIED`, explained, and every value carries the name of its enum."""
    for name, enum in enums():
        prefix = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", enum.name).upper() + "_"
        assert (enum.value[0].name, enum.value[0].number) == (f"{prefix}UNSPECIFIED", 0), name
        assert [value.name for value in enum.value if not value.name.startswith(prefix)] == []
        assert [value.number for value in enum.value] == list(range(len(enum.value))), name


def test_field_names_are_lower_case_with_underscores() -> None:
    """Every field can be spelled in every language that stubs are generated for."""
    assert [name for name, field in fields() if not SNAKE.fullmatch(field.name)] == []


def test_times_are_durations_and_timestamps() -> None:
    """No number of seconds whose unit has to be guessed, and no float that cannot hold a moment exactly."""
    wrong = []
    for name, field in fields():
        looks_like = (
            ".google.protobuf.Timestamp"
            if MOMENT.search(field.name)
            else ".google.protobuf.Duration"
            if SPAN.search(field.name)
            else ""
        )
        is_time = field.type_name.startswith(".google.protobuf.")
        if (looks_like or is_time) and field.type_name != looks_like:
            wrong.append(name)
    assert wrong == []


def test_floats_are_for_numbers_that_models_make_or_take() -> None:
    """Sizes, counts, money and times are exact; only components, scores and sampling are not."""
    floats = {FieldDescriptorProto.TYPE_FLOAT, FieldDescriptorProto.TYPE_DOUBLE}
    sampling = {"temperature", "top_p", "frequency_penalty", "presence_penalty"}
    computed = {"values", "score", "entailment", "neutral", "contradiction", "opposite"}
    reported = {"load"}  # as ORCA reports it
    judged = {"number"}  # on a scale that the judge chooses
    found = {field.name for _, field in fields() if field.type in floats}
    assert found == sampling | computed | reported | judged


def test_descriptor_set_holds_every_file_and_what_it_imports() -> None:
    """`buf curl --schema` and `grpcurl -protoset` need nothing besides this one file."""
    written = {str(path.relative_to(PROTO)) for path in PROTO.glob("inglenook/**/*.proto")}
    assert {file.name for file in files()} == written
    seen: set[str] = set()
    for file in descriptor_set().file:
        assert set(file.dependency) <= seen, f"{file.name} comes before what it imports"
        seen.add(file.name)


def test_descriptor_set_says_what_the_generated_modules_say() -> None:
    """Tools that read the set and programs that import the stubs speak the same protocol."""
    plain = FileDescriptorSet.FromString(descriptor_set().SerializeToString())
    for file in plain.file:
        if not file.name.startswith(PREFIX):
            continue  # google's own, which come with the protobuf runtime
        module = importlib.import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")
        file.ClearField("source_code_info")
        for message in file.message_type:
            _clear_json_names(message)
        assert file == FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb), file.name


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_importable_from_their_package(package: str) -> None:
    """`from inglenook.embed.v1 import EmbedRequest, EmbedServiceStub`: nobody has to spell `_pb2`."""
    module = importlib.import_module(package)
    assert set(module.__all__) == _public_names(package)
    assert len(set(module.__all__)) == len(module.__all__)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def _public_names(package: str) -> set[str]:
    """Return what a program may import from a package, as its files define it."""
    names: set[str] = set()
    for file in files():
        if file.package != package:
            continue
        names |= {message.name for message in file.message_type}
        for enum in file.enum_type:
            names |= {enum.name, *(value.name for value in enum.value)}
        for service in file.service:
            names |= {f"{service.name}Stub", f"{service.name}Servicer"}
            names.add(f"add_{service.name}Servicer_to_server")
    return names


def _is_optional(name: str) -> bool:
    return any(field.proto3_optional for known, field in fields() if known == name)


def _clear_json_names(message: DescriptorProto) -> None:
    """Remove what protoc adds to descriptor sets only, and what follows from the names of the fields."""
    for field in message.field:
        field.ClearField("json_name")
    for nested in message.nested_type:
        _clear_json_names(nested)
