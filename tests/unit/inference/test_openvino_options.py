from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from services.inference.graph.build import Plan
from services.inference.graph.heads import EmbeddingHead
from services.inference.runner import open_runner
from services.inference.session import SessionSettings, provider_options
from tests.support.graphs import build_graph
from tests.support.tiny import write_model


def plugin_options(settings: SessionSettings) -> dict[str, Any]:
    """Return what OpenVINO's CPU plugin is told."""
    options = provider_options(settings)
    assert options["device_type"] == "CPU"
    return dict(json.loads(options["load_config"])["CPU"])


def test_each_lane_has_a_stream_and_threads_of_its_own() -> None:
    """A stream runs one batch at a time: lanes that share one would wait for each other."""
    options = plugin_options(SessionSettings(execution_provider="openvino", lanes=4, threads=2))
    assert (options["NUM_STREAMS"], options["INFERENCE_NUM_THREADS"]) == (4, 8)


@pytest.mark.parametrize(("bf16", "hint"), [(True, "bf16"), (False, "f32")])
def test_precision_is_asked_for_by_name(bf16: bool, hint: str) -> None:
    """OpenVINO takes a name that it does not know without a word, and computes less exactly."""
    settings = SessionSettings(execution_provider="openvino", bf16=bf16)
    assert plugin_options(settings)["INFERENCE_PRECISION_HINT"] == hint


def test_narrow_session_is_told_of_all_lanes_and_the_wide_one_of_all_threads(tmp_path: Path) -> None:
    """Else the execution providers that share threads between runs would not use all processors."""
    graph = build_graph(write_model(tmp_path / "model"), Plan(EmbeddingHead("mean")))
    runner = open_runner(graph, SessionSettings(), 3, "mean")
    assert runner.wide is not None
    assert (runner.narrow.settings.lanes, runner.narrow.settings.threads) == (3, 1)
    assert (runner.wide.settings.lanes, runner.wide.settings.threads) == (1, 3)
