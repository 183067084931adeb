"""`inglenook reload`: the configuration file, read again by the router."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.timestamp_pb2 import Timestamp
from inglenook.common.v1 import ConfigStatus
from inglenook.router.v1 import ReloadRequest, ReloadResponse, RouterServiceStub
from rich.markup import escape

from services.cli.client import CallFailed
from services.cli.console import Output, as_dict
from services.cli.session import TIMEOUT_SECONDS, AsJson, RouterAddress, Timeout, fail_with, reaching

REFUSED = "CONFIG_INVALID"


def reload(router: RouterAddress = None, timeout: Timeout = TIMEOUT_SECONDS, as_json: AsJson = False) -> None:
    """Have the router read its configuration file now; a file with a problem changes nothing.

    The services behind it look at theirs every second by themselves.
    """
    output = Output(as_json=as_json)
    try:
        with (
            reaching(output, router, timeout, forgiving=True) as client,
            output.progress("reading the file"),
        ):
            method = RouterServiceStub(client.channel).Reload
            answer: ReloadResponse = client.call(method, ReloadRequest()).message
    except CallFailed as error:
        if error.reason == REFUSED and error.fields:
            for path, problem in error.fields:
                place = f"[bold]{escape(path)}[/] " if path else ""
                output.note(f"  {place}{escape(problem)}")
            error.message = "the file has problems; the configuration stays as it was"
        fail_with(output, error)
    output.json(as_dict(answer))
    output.show("the configuration is in force" if answer.changed else "nothing has changed")
    output.show(*told(answer.config))


def told(config: ConfigStatus) -> Iterator[str]:
    """Yield lines on the configuration in force: what it is, and what is wrong with its successor."""
    yield f"{escape(config.path)} ({config.sha256[:12]}), read {moment(config.loaded_at)}"
    if config.last_error:
        yield f"[red]last reload:[/] {escape(config.last_error)}"
    if config.restart_needed:
        yield f"[yellow]hold only after a restart:[/] {escape(', '.join(config.restart_needed))}"


def moment(timestamp: Timestamp) -> str:
    """Return a time as people read it."""
    return timestamp.ToDatetime().strftime("%Y-%m-%d %H:%M:%S UTC")
