"""What the contract promises: names, numbers, what may be retried, and that the generated code is its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from services.chassis.errors import CODES, Reason
from tests.support.contract import PROTO, ROOT, comments, files, idempotency, pool, services, shape
from tests.support.reasons import REASON, reasons_by_code

CHAT = "inglenook.chat.v1.ChatService"
EMBED = "inglenook.embed.v1.EmbedService"
FEEDBACK = "inglenook.feedback.v1.FeedbackService"
MODEL = "inglenook.model.v1.ModelService"
NLI = "inglenook.nli.v1.NliService"
RERANK = "inglenook.rerank.v1.RerankService"
ROUTER = "inglenook.router.v1.RouterService"

METHODS = {
    CHAT: {"Chat", "Complete"},
    EMBED: {"Embed"},
    FEEDBACK: {"SendFeedback"},
    MODEL: {"ListModels", "GetModel", "LoadModel", "UnloadModel", "CountTokens"},
    NLI: {"Infer", "Classify"},
    RERANK: {"Rerank"},
    ROUTER: {"GetStatus", "ListBackends", "Reload", "PurgeCache"},
}

IDEMPOTENCY = {
    (CHAT, "Chat"): "IDEMPOTENCY_UNKNOWN",
    (CHAT, "Complete"): "IDEMPOTENCY_UNKNOWN",
    (EMBED, "Embed"): "NO_SIDE_EFFECTS",
    (FEEDBACK, "SendFeedback"): "IDEMPOTENCY_UNKNOWN",
    (MODEL, "ListModels"): "NO_SIDE_EFFECTS",
    (MODEL, "GetModel"): "NO_SIDE_EFFECTS",
    (MODEL, "LoadModel"): "IDEMPOTENT",
    (MODEL, "UnloadModel"): "IDEMPOTENT",
    (MODEL, "CountTokens"): "NO_SIDE_EFFECTS",
    (NLI, "Infer"): "NO_SIDE_EFFECTS",
    (NLI, "Classify"): "NO_SIDE_EFFECTS",
    (RERANK, "Rerank"): "NO_SIDE_EFFECTS",
    (ROUTER, "GetStatus"): "NO_SIDE_EFFECTS",
    (ROUTER, "ListBackends"): "NO_SIDE_EFFECTS",
    (ROUTER, "Reload"): "IDEMPOTENT",
    (ROUTER, "PurgeCache"): "IDEMPOTENT",
}

# Fields in the order of their numbers, which begin at 1. `[]` is repeated, `?` is optional: absence can
# be told from zero. Messages may have gained fields with higher numbers.
FIELDS = {
    "inglenook.embed.v1.EmbedRequest": (
        "model inputs[] input_type dimensions? normalize? truncation encoding"
    ),
    "inglenook.embed.v1.Embedding": "values[] packed",
    "inglenook.embed.v1.EmbedResponse": "embeddings[] model usage timings cached_inputs",
    "inglenook.rerank.v1.RerankRequest": (
        "model query documents[] top_n? return_documents raw_scores truncation"
    ),
    "inglenook.rerank.v1.RerankResult": "index score document?",
    "inglenook.rerank.v1.RerankResponse": "results[] model usage timings",
    "inglenook.nli.v1.Pair": "premise hypothesis",
    "inglenook.nli.v1.InferRequest": "model pairs[]",
    "inglenook.nli.v1.InferResult": "entailment neutral? contradiction?",
    "inglenook.nli.v1.InferResponse": "results[] model usage timings",
    "inglenook.nli.v1.ClassifyRequest": "model inputs[] labels[] hypothesis_template multi_label",
    "inglenook.nli.v1.LabelScore": "label score",
    "inglenook.nli.v1.ClassifyResult": "scores[]",
    "inglenook.nli.v1.ClassifyResponse": "results[] model usage timings",
    "inglenook.chat.v1.ChatEvent": "start delta usage finish",
}


def generate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the generator in `folder`, a copy of `proto/` or the folder itself."""
    return subprocess.run(
        [sys.executable, str(folder / "generate.py"), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_generated_code_is_what_the_contract_says() -> None:
    """Generating again leaves no difference, so nobody has edited generated code or forgotten to generate."""
    result = generate(PROTO, "--check")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "changed",
    ["python/inglenook/embed/v1/embed_pb2.pyi", "python/inglenook/embed/v1/__init__.py", "inglenook.binpb"],
)
def test_check_names_a_generated_file_that_was_edited(tmp_path: Path, changed: str) -> None:
    """The proof that nothing differs is worth something: it fails, and says where."""
    copy = tmp_path / "proto"
    shutil.copytree(PROTO, copy, ignore=shutil.ignore_patterns("__pycache__"))
    edited = copy / changed
    edited.write_bytes(edited.read_bytes() + b"\n")
    protoc = ROOT / ".tools" / "proto" / "bin" / "python"
    result = generate(copy, "--check", "--protoc", str(protoc))
    assert result.returncode == 1
    assert f"differs: {changed.removeprefix('python/')}" in result.stderr.splitlines()


def test_check_names_a_generated_file_whose_source_is_gone(tmp_path: Path) -> None:
    """Code of a package that was taken out of the contract must not stay importable."""
    copy = tmp_path / "proto"
    shutil.copytree(PROTO, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "inglenook" / "feedback" / "v1" / "feedback.proto").unlink()
    protoc = ROOT / ".tools" / "proto" / "bin" / "python"
    result = generate(copy, "--check", "--protoc", str(protoc))
    assert result.returncode == 1
    assert "differs: inglenook/feedback/v1/feedback_pb2.py" in result.stderr.splitlines()


def test_buf_finds_nothing_to_complain_about() -> None:
    """The contract keeps buf's standard rules, comments on everything included (`proto/buf.yaml`)."""
    result = subprocess.run(
        [str(ROOT / "node_modules" / ".bin" / "buf"), "lint", "proto"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_services_and_methods_have_the_names_that_clients_are_written_against() -> None:
    """No method is missing, renamed or extra."""
    found = {service.full_name: {method.name for method in service.methods} for service in services()}
    assert found == METHODS


@pytest.mark.parametrize("message", FIELDS)
def test_fields_have_the_names_and_numbers_that_clients_are_written_against(message: str) -> None:
    """Names, order of numbers, repetition and presence stay what they were when clients were written."""
    descriptor = pool().FindMessageTypeByName(message)
    by_number = {field.number: field for field in descriptor.fields}
    for number, written in enumerate(FIELDS[message].split(), start=1):
        field = by_number[number]
        optional = field.has_presence and field.message_type is None
        suffix = "[]" if field.is_repeated else "?" if optional else ""
        assert field.name + suffix == written


def test_vectors_travel_as_floats_by_default_and_as_bytes_when_asked() -> None:
    """ENCODING_FLOAT fills `values`, ENCODING_FLOAT32 fills `packed`; their numbers are on the wire."""
    embedding = pool().FindMessageTypeByName("inglenook.embed.v1.Embedding").fields_by_name
    encodings = pool().FindEnumTypeByName("inglenook.embed.v1.Encoding").values_by_name
    assert embedding["values"].type == embedding["values"].TYPE_FLOAT
    assert embedding["packed"].type == embedding["packed"].TYPE_BYTES
    assert {name: value.number for name, value in encodings.items()} == {
        "ENCODING_UNSPECIFIED": 0,
        "ENCODING_FLOAT": 1,
        "ENCODING_FLOAT32": 2,
    }


@pytest.mark.parametrize(("service", "method"), IDEMPOTENCY)
def test_only_methods_without_side_effects_may_be_retried_and_cached(service: str, method: str) -> None:
    """The router decides from this option what it may send twice; a wrong one costs money or state."""
    assert idempotency(service, method) == IDEMPOTENCY[service, method]


def test_every_method_states_whether_it_has_side_effects() -> None:
    """The table above covers the contract, so that a new method cannot slip past it."""
    assert {(service, name) for service, names in METHODS.items() for name in names} == set(IDEMPOTENCY)


def test_only_chat_streams_and_no_request_does() -> None:
    """Everything else is one request and one response: that is what can be retried."""
    streaming = {
        f"{service.full_name}.{method.name}"
        for service in services()
        for method in service.methods
        if method.server_streaming
    }
    assert streaming == {f"{CHAT}.Chat"}
    assert not any(method.client_streaming for service in services() for method in service.methods)


def test_chat_and_complete_take_the_same_request() -> None:
    """A program switches between a stream and one answer by changing the type of the request alone."""
    chat, complete = (
        pool().FindMessageTypeByName(f"inglenook.chat.v1.{name}")
        for name in ("ChatRequest", "CompleteRequest")
    )
    assert [shape(field) for field in chat.fields] == [shape(field) for field in complete.fields]
    for field in chat.fields:
        assert (
            comments()[f"{chat.full_name}.{field.name}"] == comments()[f"{complete.full_name}.{field.name}"]
        )


def test_errors_in_method_comments_have_the_codes_that_the_services_send() -> None:
    """Whoever branches on `UNAVAILABLE` because a comment says so is told the truth."""
    checked = set()
    for service in services():
        for method in service.methods:
            for code, reasons in reasons_by_code(comments()[f"{service.full_name}.{method.name}"]).items():
                for reason in reasons & set(Reason):
                    assert CODES[Reason(reason)].name == code, f"{method.full_name}: {reason}"
                    checked.add(reason)
    assert {"INVALID_REQUEST", "MODEL_NOT_FOUND", "NO_BACKEND", "QUEUE_FULL", "DEADLINE"} <= checked


def test_every_reason_of_the_services_is_in_the_contract() -> None:
    """A caller finds every reason that can reach it in the comments of the methods or of the package."""
    stated = set(REASON.findall(" ".join(comments().values())))
    assert set(Reason) <= stated, set(Reason) - stated


def test_packages_are_where_their_names_say() -> None:
    """Proto path and Python path are one, so that generated imports work without rewriting."""
    for file in files():
        assert file.name.rpartition("/")[0] == file.package.replace(".", "/")
        assert file.package.endswith(".v1")
