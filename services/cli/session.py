"""What every command begins with: the options they share, and what those lead to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from services.chassis.tls import CertificatesUnusable
from services.cli.client import CallFailed, Client, Means, connect, router_address
from services.cli.connection import NotEnough, chosen_means
from services.cli.console import EXIT_MISCONFIGURED, Output
from services.config import Configuration, ConfigurationFile, ConfigurationInvalid, environment, load

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
def calling(
    output: Output, router: str | None, timeout_seconds: float, doing: str, *, forgiving: bool = False
) -> Iterator[Client]:
    """Yield a connection to the router; a call that fails is told and ends the tool.

    Without `router`, the configuration file says where it listens; without a file, the standard port. A file
    that cannot be used ends the tool unless it is `forgiving`: then it counts as none.
    """
    try:
        with reaching(output, router, timeout_seconds, forgiving=forgiving) as client, output.progress(doing):
            yield client
    except CallFailed as error:
        fail_with(output, error)


@contextmanager
def reaching(
    output: Output, router: str | None, timeout_seconds: float, *, forgiving: bool = False
) -> Iterator[Client]:
    """Yield a connection to the router, as the options of the tool and the configuration file say."""
    configuration = None if router else _configuration(output, forgiving=forgiving)
    address = router or router_address(configuration)
    with connect(address, timeout_seconds, find_means(output, configuration, address)) as client:
        yield client


def find_means(output: Output, configuration: Configuration | None, address: str) -> Means:
    """Return how to connect to the router at `address`; what does not suffice ends the tool."""
    try:
        return chosen_means(configuration, address)
    except (CertificatesUnusable, NotEnough) as error:
        output.fail(str(error), EXIT_MISCONFIGURED)


def fail_with(output: Output, error: CallFailed, **facts: Any) -> NoReturn:
    """Tell of a call that failed, with its reason and the fields that are wrong, and end the tool."""
    fields = [{"field": path, "problem": problem} for path, problem in error.fields]
    if error.retry_after_seconds is not None:
        facts = {"retryAfterSeconds": error.retry_after_seconds, **facts}
    output.fail(str(error), code=error.code, reason=error.reason, fields=fields, **facts)


def _configuration(output: Output, *, forgiving: bool) -> Configuration | None:
    """Return what the configuration file says; None without a file."""
    path = environment.configuration_path()
    if forgiving:
        try:
            return load(path).configuration
        except ConfigurationInvalid:  # whoever runs may run with an earlier one; and this is what is asked
            return None
    return read_configuration(output, path).configuration if path.exists() else None
