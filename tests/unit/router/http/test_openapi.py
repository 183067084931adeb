"""The handwritten description, against what is really there."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from services.router.http import chat_request, embeddings, pairs, rerank
from services.router.http.openapi import FILE
from services.router.http.site import METRICS, PATHS

DOCUMENT: Any = json.loads(FILE.read_text(encoding="utf-8"))


def test_every_path_is_described_and_no_other() -> None:
    """With its method."""
    paths = [*((method, path) for method, path, _ in PATHS), ("GET", METRICS)]
    routes = {(method.lower(), re.sub(r":\w+", "", path)) for method, path in paths}
    assert {(method, path) for path, methods in DOCUMENT["paths"].items() for method in methods} == routes


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("Chat", chat_request.READ),
        ("Embeddings", embeddings.KNOWN - {"user"}),
        ("Rerank", rerank.READ),
        ("Nli", pairs.OF_NLI),
        ("Classify", pairs.OF_CLASSIFY),
    ],
)
def test_every_parameter_is_described_and_no_other(name: str, known: frozenset[str]) -> None:
    """Those that are accepted and mean nothing are left out."""
    assert set(DOCUMENT["components"]["schemas"][name]["properties"]) == known


def test_every_reference_leads_somewhere() -> None:
    """Tools that make clients follow them."""
    for reference in re.findall(r'"#/([^"]+)"', FILE.read_text(encoding="utf-8")):
        found = DOCUMENT
        for step in reference.split("/"):
            found = found[step]
