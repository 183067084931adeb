"""Metrics as Prometheus sees them: over HTTP, parsed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from services.chassis.process import ServiceProcess


@dataclass(frozen=True)
class Sample:
    """One line of an exposition."""

    name: str
    labels: Mapping[str, str]
    value: float


async def scrape(process: ServiceProcess) -> list[Sample]:
    """Return all samples of a process's metrics endpoint."""
    return await scrape_at(process.metrics_address)


async def scrape_at(address: str | None) -> list[Sample]:
    """Return all samples of the metrics endpoint at an address."""
    content = await asyncio.to_thread(_get, f"http://{address}/metrics")
    return [
        Sample(sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(content)
        for sample in family.samples
    ]


async def total(process: ServiceProcess, name: str, **labels: str) -> float:
    """Return the sum of the samples of that name that have these labels."""
    return await total_at(process.metrics_address, name, **labels)


async def total_at(address: str | None, name: str, **labels: str) -> float:
    """Return the same from the metrics endpoint at an address."""
    return sum(
        sample.value
        for sample in await scrape_at(address)
        if sample.name == name and labels.items() <= sample.labels.items()
    )


async def handled(process: ServiceProcess) -> dict[tuple[str, str], int]:
    """Return how many calls ended, by method and status code, without zeros."""
    return {
        (sample.labels["grpc_method"], sample.labels["grpc_code"]): int(sample.value)
        for sample in await scrape(process)
        if sample.name == "grpc_server_handled_total" and sample.value
    }


def _get(address: str) -> str:
    with urlopen(address, timeout=10) as response:
        content: bytes = response.read()
    return content.decode()
