"""What the command line said goes before the file, after a reload as well."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.chassis.main import main
from services.chassis.process import Application, Surroundings
from services.chassis.reload import Source
from services.config import ConfigurationFile, ConfigurationInvalid

KEYS = f'[access.keys.one]\nhash = "sha256:{"a" * 64}"\n'


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """Undo what a service does to the logs of its process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def source_of(path: Path, service: str, *arguments: str) -> Source:
    """Return where a service, started with a file and options, has its configuration from."""
    found: list[Source | None] = []

    def build(surroundings: Surroundings, file: ConfigurationFile) -> Application:
        del file
        found.append(surroundings.reloader.source)
        raise RuntimeError

    main(service, build, ["--config", str(path), "--no-metrics", *arguments])
    assert found[0] is not None
    return found[0]


def write(path: Path, text: str) -> Path:
    """Write a file and return its path."""
    path.write_text(text, encoding="utf-8")
    return path


def test_settings_of_the_process_that_differ_need_a_restart_and_others_do_not(tmp_path: Path) -> None:
    """Of other services nothing is told, nor what the command line has decided."""
    path = write(tmp_path / "inglenook.toml", "")
    source = source_of(path, "embed", "--listen", "127.0.0.1:0")
    write(
        path,
        '[services.embed]\nlisten = "127.0.0.1:7"\nreflection = false\n[services.nli]\nreflection = false\n'
        '[telemetry]\nlog_level = "error"\nlog_format = "console"\n[shutdown]\ngrace_seconds = 1.0\n'
        "[limits]\nmax_concurrent_calls = 7\nmax_batch_tokens = 7\n",
    )
    assert list(source.adopt(source.read())) == [
        "services.embed.reflection",
        "limits.max_concurrent_calls",
        "shutdown.grace_seconds",
        "telemetry.log_format",
    ]


def test_the_level_of_the_log_holds_at_once(tmp_path: Path) -> None:
    """So that one can look closer at a process that misbehaves, without starting it again."""
    path = write(tmp_path / "inglenook.toml", "")
    source = source_of(path, "embed")
    write(path, '[telemetry]\nlog_level = "debug"\n')
    assert list(source.adopt(source.read())) == []
    assert logging.getLogger().level == logging.DEBUG


def test_the_path_is_the_one_that_was_given_and_links_in_it_are_not_followed(tmp_path: Path) -> None:
    """They may be what changes."""
    write(tmp_path / "real.toml", "")
    link = tmp_path / "inglenook.toml"
    link.symlink_to("real.toml")
    assert source_of(link, "embed").path == link


def test_a_router_that_listens_for_others_cannot_lose_its_keys(tmp_path: Path) -> None:
    """Neither if the command line says where it listens, nor if the file would only hide it on a restart."""
    path = write(tmp_path / "inglenook.toml", KEYS)
    source = source_of(path, "router", "--listen", "0.0.0.0:0")
    assert source.read().configuration.access.keys
    write(path, "")
    with pytest.raises(ConfigurationInvalid, match="without keys"):
        source.read()
