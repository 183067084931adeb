"""Where the router is, and what its errors look like to a person."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from inglenook.router.v1 import GetStatusRequest, RouterServiceStub

from services.cli.client import CallFailed, connect, router_address, serves
from services.config import load
from tests.support.configuration import free_addresses


def test_the_router_is_where_the_configuration_says(tmp_path: Path) -> None:
    """A port that was moved in the file is found without an option."""
    file = tmp_path / "inglenook.toml"
    file.write_text('[services.router]\nlisten = "127.0.0.1:6000"\n', encoding="utf-8")
    assert router_address(load(file).configuration) == "127.0.0.1:6000"


@pytest.mark.parametrize(
    ("listen", "called"), [("0.0.0.0:6000", "127.0.0.1:6000"), ("[::]:6000", "[::1]:6000")]
)
def test_a_router_that_listens_everywhere_is_called_on_loopback(
    tmp_path: Path, listen: str, called: str
) -> None:
    """The wildcard address can be bound to but not called."""
    file = tmp_path / "inglenook.toml"
    text = f'[services.router]\nlisten = "{listen}"\n[access]\nallow_unprotected = true\n'
    file.write_text(text, encoding="utf-8")
    assert router_address(load(file).configuration) == called


def test_without_a_file_the_standard_port_is_called() -> None:
    """The tool works in any directory against a cluster with default ports."""
    assert router_address(None) == "127.0.0.1:50051"


def test_a_router_that_is_not_there_is_told_with_what_to_do() -> None:
    """Connection refused is the first error that anybody meets, so it names the command that helps."""
    (address,) = free_addresses(1)
    assert not serves(address)
    with connect(address, timeout_seconds=5) as client, pytest.raises(CallFailed) as failed:
        client.call(RouterServiceStub(client.channel).GetStatus, GetStatusRequest())
    assert failed.value.code == grpc.StatusCode.UNAVAILABLE.name
    assert address in str(failed.value)
    assert "inglenook up" in str(failed.value)
