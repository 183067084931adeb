from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.config import is_literal, is_loopback, join_address, split_address
from tests.unit.config.conftest import Accepted, Refused


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("127.0.0.1:50051", "127.0.0.1", 50051),
        ("localhost:0", "localhost", 0),
        ("embed.inglenook.svc.cluster.local:65535", "embed.inglenook.svc.cluster.local", 65535),
        ("[::1]:50051", "::1", 50051),
        ("[fe80::1%eth0]:1", "fe80::1%eth0", 1),
    ],
)
def test_address_is_host_and_port_and_back(address: str, host: str, port: int) -> None:
    """What is split can be joined to what it was, IPv6 brackets included."""
    assert split_address(address) == (host, port)
    assert join_address(host, port) == address


@given(
    host=st.one_of(
        st.ip_addresses().map(str),
        st.from_regex(r"[a-z0-9][a-z0-9.-]{0,40}", fullmatch=True),
    ),
    port=st.integers(0, 65_535),
)
def test_joining_is_undone_by_splitting(host: str, port: int) -> None:
    """No host or port that is allowed is lost on the way."""
    assert split_address(join_address(host, port)) == (host, port)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "localhost",
        ":50051",
        "localhost:",
        "localhost:port",
        "localhost:-1",
        "localhost:65536",
        "localhost:\u0665\u0660",  # decimal digits, to Python
        "localhost:" + "9" * 5000,
        "::1",
        "::1:50051",  # IPv6 without brackets: nobody can say where the port begins
        "[]:50051",
        "http://localhost:50051",
        "dns:///embed:50053",
    ],
)
def test_what_is_not_an_address_is_refused_everywhere(refused: Refused, address: str) -> None:
    """The same rule holds for a service and for a backend, and says how an address is written."""
    message = "must be host:port, or [address]:port for IPv6, with a port up to 65535"
    with pytest.raises(ValueError, match="must be host:port"):
        split_address(address)
    assert refused(f"[services.embed]\nlisten = '{address}'") == [f"services.embed.listen: {message}"]
    assert refused(f"[routes]\nembed = ['embed']\n[backends.embed]\nendpoints = ['{address}']") == [
        f"backends.embed.endpoints.0: {message}"
    ]


def test_what_is_neither_an_address_nor_off_is_told_of_both(refused: Refused) -> None:
    """A door that was to be closed, and a word that was misspelled."""
    (problem,) = refused("[services.router]\nhttp_listen = 'offf'")
    assert problem.startswith("services.router.http_listen: must be host:port")
    assert problem.endswith('; or "off"')


@pytest.mark.parametrize(
    ("host", "literal"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("embed", False), ("127.0.0.1.nip", False)],
)
def test_literal_hosts_need_no_name_service(host: str, literal: bool) -> None:
    """An IP address or localhost is known without asking anyone."""
    assert is_literal(host) is literal


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.255.0.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("fe80::1", False),
        ("::ffff:10.0.0.1", False),
        ("embed", False),
    ],
)
def test_only_loopback_is_out_of_reach_of_other_machines(host: str, loopback: bool) -> None:
    """A name may stand for anything, and a private network is a network."""
    assert is_loopback(host) is loopback


def _backend(endpoints: str) -> str:
    return f"[routes]\nembed = ['embed']\n[backends.embed]\nendpoints = {endpoints}"


@pytest.mark.parametrize(
    "endpoints",
    [
        "['embed.example:50053']",
        "['127.0.0.1:1', '127.0.0.1:2']",
        "['127.0.0.1:1', 'localhost:2', '10.0.0.1:1']",
    ],
)
def test_endpoints_are_one_name_or_several_addresses(accepted: Accepted, endpoints: str) -> None:
    """A DNS name stands for all of its replicas; addresses can be listed."""
    assert len(accepted(_backend(endpoints)).backend("embed").endpoints) == endpoints.count(",") + 1


@pytest.mark.parametrize(
    ("endpoints", "problem"),
    [
        (
            "['a.example:1', 'b.example:1']",
            "may list several endpoints only by IP address; use one DNS name that stands for all replicas",
        ),
        (
            "['127.0.0.1:1', 'b.example:1']",
            "may list several endpoints only by IP address; use one DNS name that stands for all replicas",
        ),
        ("['127.0.0.1:1', '127.0.0.1:1']", "names an endpoint twice"),
        (
            "['127.0.0.1:1', '[::1]:1']",
            "mixes IPv4 and IPv6 addresses, which one connection pool cannot; use one of them",
        ),
        ("['127.0.0.1:0']", "must name the port that the backend listens on, not 0"),
        ("[]", "must have at least one endpoint"),
        ("'127.0.0.1:1'", "must be a list"),
    ],
)
def test_endpoints_that_one_channel_cannot_balance_over_are_refused(
    refused: Refused, endpoints: str, problem: str
) -> None:
    """A list of names would be resolved once and never again; a port 0 can be called by nobody."""
    assert refused(_backend(endpoints)) == [f"backends.embed.endpoints: {problem}"]
