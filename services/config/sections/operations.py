"""`[shutdown]` and `[telemetry]`: how a service leaves, and what it tells."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from services.config.secrets import SecretReference
from services.config.sections.base import Seconds, Section


class Shutdown(Section):
    """What happens between SIGTERM and exit. The sum of the three bounds the time it takes."""

    drain_seconds: Seconds = 5.0
    """How long a service goes on serving after it has said NOT_SERVING, so that callers can turn away."""
    grace_seconds: Seconds = 20.0
    """How long calls in flight may then take to finish."""
    flush_seconds: Seconds = 5.0
    """How long the last traces may take to be sent."""


class Telemetry(Section):
    """Logs and traces. Metrics are always kept; `[services]` says where they are served."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level that is logged."""
    log_format: Literal["json", "console"] = "json"
    """One JSON object per line, or lines for people."""
    otlp_endpoint: str | None = None
    """Where traces are sent over OTLP/gRPC, for example `http://localhost:4317`. Default: tracing is off
    and costs nothing."""
    otlp_headers: dict[str, SecretReference] = {}
    """Headers for the trace collector; each value refers to a secret, `env:NAME` or `file:/path`."""
    trace_sample_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the traces begun here that are kept. A trace that a caller began follows the caller."""
