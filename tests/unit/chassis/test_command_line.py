"""The command line that every service has refuses what it cannot use."""

from __future__ import annotations

import pytest

from services.chassis.main import main
from services.chassis.process import Application, Surroundings
from services.config import ConfigurationFile


def never_built(surroundings: Surroundings, file: ConfigurationFile) -> Application:
    """Stand for an application that must not be built."""
    message = f"the command line was accepted: {surroundings} {file}"
    raise AssertionError(message)


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
