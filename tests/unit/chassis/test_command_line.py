"""The command line that every service has refuses what it cannot use."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.chassis.main import EXIT_FAILED, EXIT_MISCONFIGURED, main
from services.chassis.process import Application, Surroundings
from services.config import ConfigurationFile, load


def never_built(surroundings: Surroundings, file: ConfigurationFile) -> Application:
    """Stand for an application that must not be built."""
    message = f"the command line was accepted: {surroundings} {file}"
    raise AssertionError(message)


def test_only_a_service_that_needs_the_keys_of_providers_is_stopped_by_a_missing_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key is given to the processes that use it, and the others do not ask for it."""
    monkeypatch.delenv("SOME_KEY", raising=False)
    path = tmp_path / "inglenook.toml"
    path.write_text('[providers.p]\ntype = "ollama"\napi_key = "env:SOME_KEY"\n', encoding="utf-8")
    assert main("chat", never_built, ["--config", str(path)], keys=True) == EXIT_MISCONFIGURED
    assert "providers.p.api_key: env:SOME_KEY is not set or empty" in capsys.readouterr().err
    assert load(path).configuration.providers


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--listen", "nowhere"], "argument --listen: must be host:port"),
        (["--metrics-listen", "127.0.0.1:99999"], "argument --metrics-listen: must be host:port"),
        (["--drain-seconds", "-1"], "argument --drain-seconds: must be a number of seconds"),
        (["--drain-seconds", "soon"], "argument --drain-seconds: must be a number of seconds"),
        (["--log-format", "xml"], "argument --log-format: invalid choice"),
        (["--no-metrics", "--metrics-listen", "127.0.0.1:0"], "not allowed with"),
    ],
)
def test_a_wrong_option_ends_with_exit_code_2_and_names_itself(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A typing error in a unit file is told as such, before anything starts, and not as a traceback."""
    with pytest.raises(SystemExit) as ended:
        main("router", never_built, arguments)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "listen", "refused"),
    [
        ("", "0.0.0.0:50053", True),
        ("", "[::]:50053", True),
        ("", "127.0.0.1:50053", False),
        ("[access]\nallow_unprotected = true\n", "0.0.0.0:50053", False),
    ],
)
def test_an_address_that_others_can_reach_is_refused_on_the_command_line_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, listen: str, refused: bool
) -> None:
    """`--listen` goes before the file, which could not know of it when it was checked."""
    path = tmp_path / "inglenook.toml"
    path.write_text(text, encoding="utf-8")
    arguments = ["--config", str(path), "--listen", listen, "--no-metrics"]
    if not refused:
        assert main("embed", never_built, arguments) == EXIT_FAILED  # it was built
        return
    assert main("embed", never_built, arguments) == EXIT_MISCONFIGURED
    told = capsys.readouterr().err
    assert told.startswith(f"--listen {listen}: can be reached from other machines without TLS (add ")
    assert "[services.embed.tls]" in told
