from __future__ import annotations

from pathlib import Path

import pytest

from services.config import ConfigurationInvalid, Problem
from tests.unit.config.conftest import Accepted, Refused

WRONG_SOURCE = (
    "models.m.source: must be package:<python package>/<folder>, dir:<folder> or hf:<organization>/<name>"
)
WRONG_CAPABILITY = "models.m.capability: must be one of 'embed', 'rerank', 'nli', 'chat'"
MODEL = '[models.m]\ncapability = "embed"\nsource = "dir:m"\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[limitz]", "limitz: is not a setting (did you mean limits?)"),
        (
            "[limits]\nmax_que_size = 1",
            "limits.max_que_size: is not a setting (did you mean max_queue_size?)",
        ),
        (MODEL + "poling = 'cls'", "models.m.poling: is not a setting (did you mean pooling?)"),
        (
            "[services.embed]\nlisen = ''",
            "services.embed.lisen: is not a setting (did you mean listen?)",
        ),
        (
            "[services.embedd]",
            "services.embedd: is not a setting (did you mean embed?)",
        ),
        (
            "[routes]\nembed = ['b']\n[backends.b]\nendpoints = ['h:1']\nendpoint = 1",
            "backends.b.endpoint: is not a setting (did you mean endpoints?)",
        ),
        (
            "[shutdown]\nwait = 1",
            "shutdown.wait: is not a setting (known here: drain_seconds, flush_seconds, grace_seconds)",
        ),
        (
            MODEL.replace("models.m", "models.pooling") + "poling = 'cls'",
            "models.pooling.poling: is not a setting (did you mean pooling?)",
        ),
        (
            MODEL.replace("models.m", "models.'a/b.c'") + "preloaded = true",
            'models."a/b.c".preloaded: is not a setting (did you mean preload?)',
        ),
    ],
)
def test_unknown_setting_is_told_with_its_path_and_what_was_meant(
    refused: Refused, text: str, problem: str
) -> None:
    """A typing error must never be a setting that silently does nothing."""
    assert refused(text) == [problem]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[engine]\nthreads = '4'", "engine.threads: must be a whole number"),
        ("[engine]\nthreads = 4.0", "engine.threads: must be a whole number"),
        ("[engine]\nthreads = true", "engine.threads: must be a whole number"),
        ("[engine]\ncalibrate = 1", "engine.calibrate: must be true or false"),
        ("[engine]\ncalibrate = 'yes'", "engine.calibrate: must be true or false"),
        ("[shutdown]\ndrain_seconds = '5'", "shutdown.drain_seconds: must be a number"),
        ("[telemetry]\notlp_endpoint = 4317", "telemetry.otlp_endpoint: must be a string"),
        ("engine = 4", "engine: must be a table"),
        ("models = 'minilm'", "models: must be a table"),
        ("routes = ['embed']", "routes: must be a table"),
        ("models.m = 'minilm'", "models.m: must be a table"),
        ("models.m = ['chat']", "models.m: must be a table"),
        ("providers.p = 'ollama'", "providers.p: must be a table"),
        ("targets.'ollama/m' = 5", 'targets."ollama/m": must be a table'),
        ("[routes]\nembed = 'embed'", "routes.embed: must be a table"),
        ("[routes]\nembed = [5]", "routes.embed.backends.0: must be a string"),
    ],
)
def test_wrong_type_is_refused_in_the_words_of_the_file(refused: Refused, text: str, problem: str) -> None:
    """Nothing is converted on the quiet, and nobody has to know what Python calls a table."""
    assert refused(text) == [problem]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[engine]\nthreads = -1", "engine.threads: must be greater than or equal to 0"),
        (
            "[engine]\nexecution_provider = 'gpu'",
            "engine.execution_provider: must be 'cpu', 'cuda' or 'openvino'",
        ),
        ("[channels]\nejection_share = 2", "channels.ejection_share: must be less than or equal to 1"),
        ("[shutdown]\ngrace_seconds = inf", "shutdown.grace_seconds: must be a finite number"),
        ("[shutdown]\ngrace_seconds = nan", "shutdown.grace_seconds: must be a finite number"),
        ("[limits]\ndefault_timeout_seconds = 0", "limits.default_timeout_seconds: must be greater than 0"),
        (
            "[telemetry]\ntrace_sample_ratio = nan",
            "telemetry.trace_sample_ratio: must be less than or equal to 1",
        ),
        (MODEL.replace("dir:m", "s3:a/b"), WRONG_SOURCE),
        (MODEL.replace("dir:m", "hf:a/b/c"), WRONG_SOURCE),
        (MODEL.replace("dir:m", "dir:"), WRONG_SOURCE),
        (MODEL.replace("embed", "vision"), WRONG_CAPABILITY),
        (MODEL.replace('"embed"', "5"), WRONG_CAPABILITY),
        (MODEL.replace('"embed"', "['embed']"), WRONG_CAPABILITY),
        (
            MODEL.replace("models.m", "models.'two words'"),
            'models."two words": is not a name of at most 128 characters (use letters, digits and . _ : / -)',
        ),
        ("[routes]\nvision = ['embed']", "routes.vision: must be 'chat', 'embed', 'rerank' or 'nli'"),
    ],
)
def test_value_out_of_bounds_is_refused_with_the_bounds(refused: Refused, text: str, problem: str) -> None:
    """A value that cannot work is a problem of the file, not of the first call."""
    assert refused(text) == [problem]


def test_missing_setting_is_told(refused: Refused) -> None:
    """A model without a source is a problem of the file, with where to read what belongs there."""
    assert refused("[models.m]\ncapability = 'embed'") == [
        "models.m.source: is missing (add it; docs/configuration.md lists every setting)"
    ]


def test_all_problems_are_told_at_once_in_the_order_of_their_paths(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person mends a file in one go: problems of sections, references and secrets come together."""
    monkeypatch.delenv("ABSENT", raising=False)
    problems = refused("""
        [telemetry]
        otlp_headers = { authorization = "env:ABSENT" }
        log_level = "loud"
        [services.embed]
        listen = "127.0.0.1:50051"
        [routes]
        embed = ["embbed"]
        [models.m]
        capability = "embed"
        dimensions = 5
        [limits]
        max_queue_size = 10
        [backends.spare]
        endpoints = ["h:1", "h:1"]
    """)
    assert [line.partition(": ")[0] for line in problems] == [
        "backends.spare",
        "backends.spare.endpoints",
        "limits.max_client_batch_size",
        "models.m.dimensions",
        "models.m.source",
        "routes.embed.0",
        "services.embed.listen",
        "telemetry.log_level",
        "telemetry.otlp_headers.authorization",
    ]


def test_message_is_a_heading_and_one_line_per_problem(accepted: Accepted, tmp_path: Path) -> None:
    """What is printed can be read: the file, how many problems, and each on its own line."""
    with pytest.raises(ConfigurationInvalid) as caught:
        accepted("[engine]\nthreads = 'x'\ncalibrate = 'x'")
    assert str(caught.value).splitlines() == [
        f"{tmp_path / 'inglenook.toml'}: 2 problems",
        "  engine.calibrate: must be true or false",
        "  engine.threads: must be a whole number",
    ]


def test_problem_that_two_rules_find_is_told_once() -> None:
    """Equal problems are one, and their order does not depend on who found them first."""
    one, other = Problem("a", "is wrong"), Problem("b", "is wrong")
    assert ConfigurationInvalid(Path("f"), [other, one, other]).problems == (one, other)


def test_values_of_the_file_are_not_repeated(refused: Refused) -> None:
    """A value in the wrong place may be a secret."""
    text = MODEL + "pooling = 'hunter2'\nmax_input_tokens = 'hunter2'\n[engine]\napi_key = 'hunter2'"
    assert "hunter2" not in "\n".join(refused(text))
