"""`inglenook status`: how the cluster is."""

from __future__ import annotations

from inglenook.common.v1 import Capability
from inglenook.router.v1 import (
    BackendState,
    CacheStatus,
    GetStatusRequest,
    GetStatusResponse,
    ListBackendsRequest,
    ListBackendsResponse,
    RouterServiceStub,
)
from rich.markup import escape
from rich.table import Table

from services.cli.commands.reload import moment, told
from services.cli.console import Output, as_dict, table
from services.cli.session import TIMEOUT_SECONDS, AsJson, RouterAddress, Timeout, calling

COLORS = {
    BackendState.BACKEND_STATE_HEALTHY: "green",
    BackendState.BACKEND_STATE_NOT_SERVING: "yellow",
    BackendState.BACKEND_STATE_UNREACHABLE: "red",
}


def status(router: RouterAddress = None, timeout: Timeout = TIMEOUT_SECONDS, as_json: AsJson = False) -> None:
    """Show which capabilities are available, the backends behind them, and the cache."""
    output = Output(as_json=as_json)
    with calling(output, router, timeout, "asking the router", forgiving=True) as client:
        stub = RouterServiceStub(client.channel)
        found = client.call(stub.GetStatus, GetStatusRequest())
        backends = client.call(stub.ListBackends, ListBackendsRequest())
    cluster: GetStatusResponse = found.message
    listed: ListBackendsResponse = backends.message
    output.json({**as_dict(cluster), "backends": as_dict(listed)["backends"], "servedBy": found.served_by})
    output.show(
        f"inglenook {cluster.version} at {client.address}, up for {_span(cluster.uptime.ToSeconds())}",
        *told(cluster.config),
        "",
        _capabilities(cluster),
        "",
        _backends(listed),
        *(("", _cache(cluster.cache)) if cluster.cache.url else ()),
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
    made = table("BACKEND", "ENDPOINT", "STATE", "SINCE", "CONFIG", "DETAIL")
    for one in listed.backends:
        state = _name(BackendState.Name(one.state), "BACKEND_STATE_")
        color = COLORS.get(one.state, "dim")
        made.add_row(
            escape(one.name),
            escape(one.endpoint),
            f"[{color}]{state}[/]",
            moment(one.state_since),
            one.config.sha256[:12],
            escape(one.state_detail or one.config.last_error),
        )
    return made


def _cache(kept: CacheStatus) -> Table:
    """Return one row: a memory that is off, and a Redis that is not configured, have nothing to say."""
    found = kept.memory_hits + kept.redis_hits
    asked = found + kept.misses
    remote = kept.url.partition(":")[0] not in {"memory", "off"}
    made = table("CACHE", ">ANSWERS", ">MEMORY", ">FOUND", "REDIS", ">ERRORS")
    made.add_row(
        escape(kept.url),
        str(kept.memory_entries),
        f"{kept.memory_bytes / 2**20:.1f} of {kept.max_memory_bytes / 2**20:.0f} MiB",
        f"{found / asked:.0%} of {asked}" if asked else "",
        ("[green]available[/]" if kept.redis_available else "[red]not available[/]") if remote else "",
        str(kept.redis_errors) if remote else "",
    )
    return made


def _name(value: str, prefix: str) -> str:
    return value.removeprefix(prefix).lower().replace("_", " ")


def _span(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    told = [f"{count} {unit}" for count, unit in parts if count]
    return " ".join(told[:2]) or "0 s"
