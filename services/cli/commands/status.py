"""`inglenook status`: how the cluster is."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp
from inglenook.common.v1 import Capability
from inglenook.router.v1 import (
    BackendState,
    GetStatusRequest,
    GetStatusResponse,
    ListBackendsRequest,
    ListBackendsResponse,
    RouterServiceStub,
)
from rich.markup import escape
from rich.table import Table

from services.cli.console import Output, as_dict, table
from services.cli.session import TIMEOUT_SECONDS, AsJson, RouterAddress, Timeout, calling

COLORS = {
    BackendState.BACKEND_STATE_HEALTHY: "green",
    BackendState.BACKEND_STATE_NOT_SERVING: "yellow",
    BackendState.BACKEND_STATE_UNREACHABLE: "red",
}


def status(router: RouterAddress = None, timeout: Timeout = TIMEOUT_SECONDS, as_json: AsJson = False) -> None:
    """Show which capabilities are available, and the backends behind them."""
    output = Output(as_json=as_json)
    with calling(output, router, timeout, "asking the router") as client:
        stub = RouterServiceStub(client.channel)
        found = client.call(stub.GetStatus, GetStatusRequest())
        backends = client.call(stub.ListBackends, ListBackendsRequest())
    cluster: GetStatusResponse = found.message
    listed: ListBackendsResponse = backends.message
    config = cluster.config
    output.json({**as_dict(cluster), "backends": as_dict(listed)["backends"], "servedBy": found.served_by})
    output.show(
        f"inglenook {cluster.version} at {client.address}, up for {_span(cluster.uptime.ToSeconds())}",
        f"{escape(config.path)} ({config.sha256[:12]}), read {_moment(config.loaded_at)}",
        "",
        _capabilities(cluster),
        "",
        _backends(listed),
    )


def _capabilities(cluster: GetStatusResponse) -> Table:
    made = table("CAPABILITY", "AVAILABLE", ">HEALTHY", ">CALLS IN FLIGHT")
    for one in cluster.capabilities:
        made.add_row(
            _name(Capability.Name(one.capability), "CAPABILITY_"),
            "[green]yes[/]" if one.available else "[dim]no[/]",
            f"{one.healthy_backends} of {one.total_backends}",
            str(one.calls_in_flight),
        )
    return made


def _backends(listed: ListBackendsResponse) -> Table:
    made = table("BACKEND", "ENDPOINT", "STATE", "SINCE", "DETAIL")
    for one in listed.backends:
        state = _name(BackendState.Name(one.state), "BACKEND_STATE_")
        color = COLORS.get(one.state, "dim")
        made.add_row(
            escape(one.name),
            escape(one.endpoint),
            f"[{color}]{state}[/]",
            _moment(one.state_since),
            escape(one.state_detail),
        )
    return made


def _name(value: str, prefix: str) -> str:
    return value.removeprefix(prefix).lower().replace("_", " ")


def _moment(timestamp: Timestamp) -> str:
    return timestamp.ToDatetime().strftime("%Y-%m-%d %H:%M:%S UTC")


def _span(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    told = [f"{count} {unit}" for count, unit in parts if count]
    return " ".join(told[:2]) or "0 s"
