from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from inglenook.chat.v1 import chat_pb2
from inglenook.embed.v1 import embed_pb2
from inglenook.feedback.v1 import feedback_pb2
from inglenook.model.v1 import model_pb2
from inglenook.nli.v1 import nli_pb2
from inglenook.rerank.v1 import rerank_pb2
from inglenook.router.v1 import router_pb2

from services.chassis.channels import RETRYABLE_CODES, service_config, target
from services.config import Channels

MODULES = (chat_pb2, embed_pb2, feedback_pb2, model_pb2, nli_pb2, rerank_pb2, router_pb2)
SERVICES: list[ServiceDescriptor] = [
    service for module in MODULES for service in module.DESCRIPTOR.services_by_name.values()
]
EMBED = embed_pb2.DESCRIPTOR.services_by_name["EmbedService"]
MODEL = model_pb2.DESCRIPTOR.services_by_name["ModelService"]
FEEDBACK = feedback_pb2.DESCRIPTOR.services_by_name["FeedbackService"]


def retried(services: list[ServiceDescriptor], **channels: Any) -> set[str]:
    """Return the methods that a service config retries, as `Service/Method`."""
    config = service_config(services, Channels(**channels))
    return {
        f"{name['service'].rpartition('.')[2]}/{name['method']}"
        for method_config in config.get("methodConfig", [])
        for name in method_config["name"]
    }


@pytest.mark.parametrize(
    ("endpoints", "expected"),
    [
        (["embed.example:50053"], "dns:///embed.example:50053"),
        (["10.0.0.1:1"], "ipv4:10.0.0.1:1"),
        (["10.0.0.1:1", "10.0.0.2:1"], "ipv4:10.0.0.1:1,10.0.0.2:1"),
        (["[::1]:1"], "ipv6:[::1]:1"),
        (["[::1]:1", "[fd00::2]:1"], "ipv6:[::1]:1,[fd00::2]:1"),
        (["localhost:1"], "ipv4:127.0.0.1:1"),
        (["localhost:1", "127.0.0.1:2"], "ipv4:127.0.0.1:1,127.0.0.1:2"),
    ],
)
def test_endpoints_become_a_target_that_grpc_balances_over(endpoints: list[str], expected: str) -> None:
    """Names are looked up and may stand for many replicas; addresses are taken as they are."""
    assert target(endpoints) == expected


def test_only_methods_without_side_effects_are_retried() -> None:
    """The contract says which those are; a judgement that is stored twice would be a wrong one."""
    assert retried([EMBED]) == {"EmbedService/Embed"}
    assert retried([FEEDBACK]) == set()
    assert "ModelService/ListModels" in retried([EMBED, MODEL])
    assert "FeedbackService/SendFeedback" not in retried([EMBED, FEEDBACK])


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_every_method_of_the_contract_is_retried_exactly_if_it_says_so(service: ServiceDescriptor) -> None:
    """A policy that a typing mistake keeps from matching does nothing, and nobody notices."""
    marked = {
        f"{service.name}/{method.name}"
        for method in service.methods
        if method.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS
    }
    assert retried([service]) == marked


def test_single_attempt_means_no_retries() -> None:
    """A policy with one attempt is refused by gRPC, and the whole service config with it."""
    config = service_config([EMBED], Channels(max_attempts=1))
    assert "methodConfig" not in config
    assert "retryThrottling" not in config


def test_backends_are_asked_for_the_health_of_the_first_service() -> None:
    """Without it a replica that still loads its model gets calls as soon as it listens."""
    assert service_config([EMBED, MODEL], Channels())["healthCheckConfig"] == {
        "serviceName": "inglenook.embed.v1.EmbedService"
    }


def test_outlier_settings_come_from_the_configuration() -> None:
    """Durations have the form that gRPC's JSON wants."""
    config = service_config([EMBED], Channels(outlier_interval_seconds=0.5, ejection_seconds=7))
    (policy,) = config["loadBalancingConfig"]
    outliers = policy["outlier_detection_experimental"]
    assert (outliers["interval"], outliers["baseEjectionTime"]) == ("0.5s", "7s")
    assert outliers["childPolicy"] == [{"round_robin": {}}]


def test_calls_that_a_stopping_server_cancels_are_retried_too() -> None:
    """UNAVAILABLE alone loses the calls that a server drops before any handler has seen them."""
    assert set(RETRYABLE_CODES) == {"UNAVAILABLE", "CANCELLED"}
    (method_config,) = service_config([EMBED], Channels(max_attempts=3))["methodConfig"]
    assert method_config["retryPolicy"]["retryableStatusCodes"] == list(RETRYABLE_CODES)
    assert method_config["retryPolicy"]["maxAttempts"] == 3


def test_service_config_is_json() -> None:
    """The channel takes it as text."""
    config = service_config(SERVICES, Channels())
    assert json.loads(json.dumps(config)) == config
