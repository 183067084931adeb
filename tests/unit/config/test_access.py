from __future__ import annotations

from pathlib import Path

import pytest

from services.config import exposure, hash_of, is_key, new_key
from tests.unit.config.conftest import Accepted, Refused

HASH = "sha256:" + "0" * 64
KEYS = f"[access.keys.a]\nhash = '{HASH}'\n"
TLS = "tls = { certificate = 'c.pem', key = 'k.pem' }\n"
ALLOWED = "[access]\nallow_unprotected = true\n"

OPEN = (
    "can be reached from other machines without TLS "
    "(add [services.embed.tls], or allow_unprotected under [access] if the network protects it)"
)
OPEN_ROUTER = (
    "can be reached from other machines without TLS and without keys (add [services.router.tls], "
    "keys under [access.keys], or allow_unprotected under [access] if the network protects it)"
)


def _listening(service: str, host: str, setting: str = "listen", more: str = "") -> str:
    return f"[services.{service}]\n{setting} = '{host}:6000'\n{more}"


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "10.0.0.5", "192.168.1.2", "[fe80::1]", "8.8.8.8"])
def test_service_that_others_can_reach_needs_protection(refused: Refused, host: str) -> None:
    """A file that was written for one machine does not open a cluster to a network by being copied."""
    assert refused(_listening("embed", host)) == [f"services.embed.listen: {OPEN}"]
    assert refused(_listening("router", host)) == [f"services.router.listen: {OPEN_ROUTER}"]
    assert refused(_listening("router", host, "http_listen")) == [
        f"services.router.http_listen: {OPEN_ROUTER}"
    ]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "[::1]"])
def test_loopback_needs_none(accepted: Accepted, host: str) -> None:
    """Only this machine can call it."""
    assert accepted(_listening("router", host)).services.router.listen.startswith(host)


@pytest.mark.parametrize(
    "text",
    [
        _listening("embed", "0.0.0.0", more=TLS),
        _listening("router", "0.0.0.0", more=TLS),
        _listening("router", "0.0.0.0") + KEYS,
        _listening("router", "0.0.0.0", "http_listen") + KEYS,
        _listening("embed", "0.0.0.0") + ALLOWED,
        _listening("router", "0.0.0.0") + ALLOWED,
        _listening("router", "0.0.0.0", "metrics_listen"),
        _listening("router", "127.0.0.1", more="http_listen = 'off'\n"),
    ],
)
def test_tls_keys_or_a_word_protect(accepted: Accepted, text: str) -> None:
    """Keys protect the router, TLS any service; metrics are for Prometheus, which comes from elsewhere."""
    assert accepted(text).services.router.listen


@pytest.mark.parametrize(
    "text",
    [
        _listening("embed", "0.0.0.0") + KEYS,  # keys are the router's
        _listening("embed", "0.0.0.0", more="tls = { certificate = 'c', key = 'k' }\n").replace("tls", "tlx"),
        _listening("embed", "0.0.0.0") + "[access]\nallow_unprotected = false\n",
    ],
)
def test_what_does_not_protect_is_told(refused: Refused, text: str) -> None:
    """Together with whatever else is wrong."""
    assert f"services.embed.listen: {OPEN}" in refused(text)


def test_keys_that_nobody_has_to_show_protect_nothing(refused: Refused) -> None:
    """`required = false` lets everybody in."""
    text = _listening("router", "0.0.0.0") + "[access]\nrequired = false\n" + KEYS
    assert refused(text) == [f"services.router.listen: {OPEN_ROUTER}"]


def test_address_of_the_command_line_is_held_to_the_same_rule(accepted: Accepted) -> None:
    """What the file would have been refused for is told without a path."""
    plain, keys = accepted(""), accepted(KEYS)
    assert str(exposure(plain, "router", "0.0.0.0:1")) == OPEN_ROUTER
    assert str(exposure(keys, "embed", "0.0.0.0:1")) == OPEN
    assert exposure(keys, "router", "0.0.0.0:1") is None
    assert exposure(plain, "router", "127.0.0.1:1") is None
    assert exposure(plain, "router", "localhost:1") is None
    assert str(exposure(plain, "embed", "this-machine.example:1")) == OPEN  # whatever it stands for
    services = accepted(_listening("router", "0.0.0.0", "http_listen") + KEYS).services
    lasting = plain.model_copy(update={"services": services})  # the keys are gone, and it listens as before
    assert str(exposure(lasting, "router", "127.0.0.1:1")) == OPEN_ROUTER
    assert exposure(accepted(ALLOWED), "embed", "[::]:1") is None
    assert exposure(accepted(_listening("embed", "127.0.0.1", more=TLS)), "embed", "[::]:1") is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "[access.keys.a]\nhash = 'sha256:abc'",
            "access.keys.a.hash: is not the hash of a key: sha256: and 64 digits from 0 to f "
            "(`inglenook keys new` prints it; the key itself does not belong here)",
        ),
        (
            f"{KEYS}[access.keys.b]\nhash = '{HASH}'",
            "access: has the same key under two names (`inglenook keys new` makes another one)",
        ),
        (
            "[access]\nrequired = true",
            "access: requires keys and has none, so that nobody could call "
            "(`inglenook keys new` prints a table [access.keys.<name>])",
        ),
        (
            f"{KEYS}allow = ['embed', 'everything']",
            "access.keys.a.allow.1: must be 'chat', 'embed', 'rerank', 'nli' or 'operate'",
        ),
        (
            f"{KEYS}requests_per_minute = 0",
            "access.keys.a.requests_per_minute: must be greater than or equal to 1",
        ),
    ],
)
def test_keys_that_cannot_be_meant_are_refused(refused: Refused, text: str, problem: str) -> None:
    """Each with where it is and what to do."""
    assert refused(text) == [problem]


def test_key_in_place_of_its_hash_is_not_repeated(refused: Refused) -> None:
    """Somebody will paste it there, and the problem will be in a log."""
    key = new_key()
    (problem,) = refused(f"[access.keys.a]\nhash = '{key}'")
    assert key not in problem


def test_certificates_are_found_from_the_file(accepted: Accepted, tmp_path: Path) -> None:
    """A relative path means the same wherever a service is started."""
    text = (
        "[services.embed]\ntls = { certificate = 'c.pem', key = '/k.pem', client_ca = '~/ca.pem' }\n"
        "[routes]\nembed = ['embed']\n"
        "[backends.embed]\nendpoints = ['127.0.0.1:1']\ntls = { ca = 'certs/ca.pem' }\n"
    )
    configuration = accepted(text)
    tls, client = configuration.services.embed.tls, configuration.backends["embed"].tls
    assert tls is not None
    assert client is not None
    assert tls.certificate == tmp_path / "c.pem"
    assert tls.key == Path("/k.pem")
    assert tls.client_ca == Path("~/ca.pem").expanduser()
    assert client.ca == tmp_path / "certs" / "ca.pem"


def test_half_a_pair_to_show_is_refused(refused: Refused) -> None:
    """A certificate without its key cannot be shown."""
    text = "[routes]\nembed = ['embed']\n[backends.embed]\nendpoints = ['127.0.0.1:1']\n"
    assert refused(text + "tls = { ca = 'ca.pem', certificate = 'c.pem' }") == [
        "backends.embed.tls: has only one of `certificate` and `key` (set both, or neither)"
    ]


def test_keys_are_random_and_their_hash_is_what_the_configuration_takes(accepted: Accepted) -> None:
    """256 bits each, recognizable, and never the same twice."""
    one, other = new_key(), new_key()
    assert one != other
    assert is_key(one)
    assert len(one.removeprefix("ink_")) == 64
    assert not is_key(one[:-1])
    assert accepted(f"[access.keys.a]\nhash = '{hash_of(one)}'").access.keys["a"].hash == hash_of(one)
