"""`[routes]`: which backends answer for a capability, and what becomes of a call that one of them fails."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from services.config.sections.base import LENIENT, Name, Seconds, Section

Strategy = Literal["priority", "least_loaded", "lowest_latency", "lowest_cost"]


class Route(Section):
    """Where calls of one capability go. `embed = ["embed"]` is short for a table that names only backends."""

    backends: Annotated[tuple[Name, ...], LENIENT, Field(max_length=16)]
    """Names of backends, of a `[backends]` table or of a service. The first one is asked first; the others
    are asked when it cannot answer. Replicas of one backend are listed in its `endpoints`."""
    strategy: Strategy = "priority"
    """Which backend is asked first: `priority` takes them as they are listed; `least_loaded` the one that
    reports the least load; `lowest_latency` the one that has answered fastest of late; `lowest_cost` the one
    with the lowest `cost`, then as they are listed. Within a backend, the replica is chosen by the same
    measure, and in turn where it does not tell them apart. docs/routing.md says more."""
    max_attempts: Annotated[int, Field(ge=1, le=16)] = 4
    """Most attempts for one call, the first and hedges included, within the caller's deadline."""
    attempt_timeout_seconds: Annotated[Seconds, Field(gt=0)] | None = None
    """How long one attempt may take before another replica is asked; of a stream, until its first content.
    Where nobody else could be asked, it does not matter. Default: as long as the caller waits."""
    hedge_percentile: Annotated[float, Field(ge=50, lt=100)] | None = None
    """Ask a second replica when the first has not answered within this percentile of recent latencies, and
    take the answer that comes first. Only calls without side effects are hedged, and none before 20 calls of
    the same method and size were answered. Default: never."""
    split_inputs: Annotated[int, Field(ge=0, le=100_000)] = 128
    """Calls of which more inputs than this have to be computed are split over the healthy replicas of the
    backend, and put together again in order; a part has at least half as many. Inputs are texts for `Embed`,
    documents for `Rerank` and pairs for `Infer` and `Classify`. Only for models whose fingerprint is known.
    0: never."""

    @field_validator("backends")
    @classmethod
    def check_backends(cls, backends: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse a route that leads nowhere, and one that names a backend twice."""
        if not backends:  # not min_length: that counts items without the wrong ones
            message = "must name at least one backend"
            raise ValueError(message)
        if len(set(backends)) != len(backends):
            message = "names a backend twice; replicas belong into that backend's endpoints"
            raise ValueError(message)
        return backends
