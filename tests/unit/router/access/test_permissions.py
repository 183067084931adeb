from __future__ import annotations

import pytest

from services.chassis.pipeline.layer import UNKNOWN_METHOD
from services.config import Capability
from services.router.access.permissions import permission_of
from services.router.capabilities import MODEL_SERVICE, ROUTER_SERVICE, SERVICES

OPERATED = {"LoadModel", "UnloadModel", "Reload", "PurgeCache"}


@pytest.mark.parametrize("capability", SERVICES)
def test_method_of_a_capability_needs_that_capability(capability: Capability) -> None:
    """All of a service's methods, those that are added later included."""
    service = SERVICES[capability]
    assert {permission_of(f"/{service.full_name}/{one.name}") for one in service.methods} == {capability}


def test_what_changes_the_cluster_needs_an_operator() -> None:
    """Looking is for everybody who has a key; what others would notice is not."""
    needed = {
        method.name: permission_of(f"/{service.full_name}/{method.name}")
        for service in (MODEL_SERVICE, ROUTER_SERVICE)
        for method in service.methods
    }
    assert {name for name, permission in needed.items() if permission == "operate"} == OPERATED
    assert {permission for name, permission in needed.items() if name not in OPERATED} == {None}


@pytest.mark.parametrize("method", ["/inglenook.feedback.v1.FeedbackService/SendFeedback", UNKNOWN_METHOD])
def test_anything_else_needs_any_key(method: str) -> None:
    """A method that does not exist is not told to callers without a key either."""
    assert permission_of(method) is None


@pytest.mark.parametrize("service", [MODEL_SERVICE, ROUTER_SERVICE])
def test_operators_service_grows_safely(service: object) -> None:
    """A method that the contract does not call safe is an operator's until somebody decides otherwise."""
    assert permission_of(f"/{service.full_name}/Explode") == "operate"  # type: ignore[attr-defined]
