"""What every command begins with: the options they share, and what those lead to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from services.cli.client import CallFailed, Client, connect, router_address
from services.cli.console import EXIT_MISCONFIGURED, Output
from services.config import ConfigurationFile, ConfigurationInvalid, environment, load

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
RouterAddress = Annotated[
    str | None,
    typer.Option("--router", metavar="HOST:PORT", help="Where the router listens.", show_default=False),
]
Timeout = Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=0.001, help="Deadline.")]
ConfigPath = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Configuration file.", show_default=False),
]

TIMEOUT_SECONDS = 60.0


def read_configuration(output: Output, path: Path | None) -> ConfigurationFile:
    """Return the configuration; one that cannot be used ends the tool."""
    try:
        return load(path or environment.configuration_path())
    except ConfigurationInvalid as error:
        problems = [{"path": one.path, "message": one.message, "hint": one.hint} for one in error.problems]
        output.fail(str(error), EXIT_MISCONFIGURED, problems=problems)


@contextmanager
def calling(output: Output, router: str | None, timeout_seconds: float, doing: str) -> Iterator[Client]:
    """Yield a connection to the router; a call that fails is told and ends the tool.

    Without `router`, the configuration file says where it listens; without a file, the standard port.
    """
    address = router or find_router(output)
    try:
        with connect(address, timeout_seconds) as client, output.progress(doing):
            yield client
    except CallFailed as error:
        fail_with(output, error)


def fail_with(output: Output, error: CallFailed, **facts: Any) -> NoReturn:
    """Tell of a call that failed, with its reason and the fields that are wrong, and end the tool."""
    fields = [{"field": path, "problem": problem} for path, problem in error.fields]
    output.fail(str(error), code=error.code, reason=error.reason, fields=fields, **facts)


def find_router(output: Output) -> str:
    """Return where the configuration file says that the router listens; without a file, the standard port."""
    path = environment.configuration_path()
    if not path.exists():
        return router_address(None)
    return router_address(read_configuration(output, path).configuration)
