"""A trace collector: takes spans over OTLP/gRPC and keeps them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

ERROR = 2
"""`Status.STATUS_CODE_ERROR`."""


@dataclass(frozen=True)
class Span:
    """What matters of a span that arrived."""

    name: str
    failed: bool
    attributes: dict[str, Any]
    resource: dict[str, Any]
    trace_id: str
    parent_id: str

    @property
    def code(self) -> int:
        """The gRPC status code."""
        return int(self.attributes["rpc.grpc.status_code"])


@dataclass
class Collector(TraceServiceServicer):
    """Keeps what it gets.

    Attributes:
        address: Where it listens.
        spans: All spans, in the order of arrival.
        headers: Metadata of the last export.
    """

    address: str = ""
    spans: list[Span] = field(default_factory=list)
    headers: dict[str, Any] = field(default_factory=dict)

    async def Export(self, request: ExportTraceServiceRequest, context: Any) -> ExportTraceServiceResponse:
        """Keep the spans of one export."""
        self.headers = dict(context.invocation_metadata())
        for resource_spans in request.resource_spans:
            resource = _values(resource_spans.resource.attributes)
            self.spans += [
                Span(
                    name=span.name,
                    failed=span.status.code == ERROR,
                    attributes=_values(span.attributes),
                    resource=resource,
                    trace_id=span.trace_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                )
                for scope_spans in resource_spans.scope_spans
                for span in scope_spans.spans
            ]
        return ExportTraceServiceResponse()


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """Run a collector on a free port."""
    collector = Collector()
    server = grpc.aio.server()
    add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]  # generated
    collector.address = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield collector
    finally:
        await server.stop(0)


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
