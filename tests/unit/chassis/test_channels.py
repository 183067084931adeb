"""How channels are set up."""

from __future__ import annotations

import json

from services.chassis.channels import SERVICE_CONFIG


def test_the_service_config_is_json_without_a_policy_of_retries() -> None:
    """Whom to ask again is the router's decision; two who decide would multiply each other's attempts."""
    assert json.loads(SERVICE_CONFIG) == {"connectionScaling": {"maxConnectionsPerSubchannel": 4}}
