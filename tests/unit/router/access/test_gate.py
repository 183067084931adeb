from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from services.chassis.errors import CallError
from services.config import Access, Key, Permission, hash_of, new_key
from services.router.access.errors import KeyNotAllowed, TooFast, TooManyAtOnce, Unauthenticated
from services.router.access.gate import Gate

ALICE, BOB, NOBODY = new_key(), new_key(), new_key()


def _access(required: bool | None = None, **alice: Any) -> Access:
    keys = {
        "alice": Key(hash=hash_of(ALICE), **alice),
        "bob": Key(hash=hash_of(BOB), allow=("operate",)),
    }
    return Access(keys=keys, required=required)


def _gate(access: Access | None = None, *, reachable: bool = True) -> Gate:
    return Gate(access or _access(), CollectorRegistry(), reachable=reachable)


def _bearer(key: str) -> tuple[tuple[str, str], ...]:
    return (("user-agent", "test"), ("authorization", f"Bearer {key}"))


def _metric(registry: CollectorRegistry, name: str) -> Mapping[str, float]:
    samples = (sample for metric in registry.collect() for sample in metric.samples)
    return {next(iter(one.labels.values())): one.value for one in samples if one.name == name}


@pytest.mark.parametrize(
    "metadata",
    [
        [("authorization", f"Bearer {ALICE}")],
        [("authorization", f"bearer  {ALICE} ")],
        [("x-api-key", ALICE)],
        [("x-api-key", ALICE), ("authorization", "Bearer unused")],
        [("x-api-key", ALICE), ("authorization", "Basic dXNlcjpwYXNz")],
        [("trace-bin", b"\0"), ("x-api-key", ALICE)],
    ],
)
def test_key_is_found_in_either_place(metadata: list[tuple[str, str | bytes]]) -> None:
    """`x-api-key` goes first, for the sake of programs that always send an `authorization`."""
    assert _gate().check(metadata) == "alice"


@pytest.mark.parametrize(
    ("metadata", "missing"),
    [
        ((), True),
        ([("authorization", "Basic dXNlcjpwYXNz")], True),
        ([("authorization", ALICE)], True),
        (_bearer(NOBODY), False),
        (_bearer(ALICE[:-1]), False),
        (_bearer(ALICE.upper()), False),
        (_bearer(hash_of(ALICE)), False),
        (_bearer(""), False),
        (_bearer("\udce4\u00e4"), False),
        ([("x-api-key", NOBODY), *_bearer(ALICE)], False),
    ],
)
def test_missing_and_wrong_keys_are_unauthenticated(metadata: Any, missing: bool) -> None:
    """Both are told the same, but that one who sent none is told how to; nobody is told which keys exist."""
    with pytest.raises(Unauthenticated) as caught:
        _gate().check(metadata)
    said = str(caught.value)
    assert said.startswith("a valid API key is needed")
    assert ("authorization: Bearer" in said) is missing
    assert not any(secret in said for secret in ("alice", "bob", ALICE, NOBODY))


@pytest.mark.parametrize(
    ("permission", "allowed"),
    [("embed", True), ("chat", True), (None, True), ("operate", False)],
)
def test_key_is_for_what_it_is_allowed(permission: Permission | None, allowed: bool) -> None:
    """Capabilities by default, and nothing that changes the cluster for others."""
    gate = _gate()
    if allowed:
        assert gate.check(_bearer(ALICE), permission) == "alice"
        return
    with pytest.raises(KeyNotAllowed) as caught:
        gate.check(_bearer(ALICE), permission)
    assert caught.value.metadata == {"permission": permission}


def test_operator_that_may_only_operate_cannot_embed() -> None:
    """A permission implies no other."""
    with pytest.raises(KeyNotAllowed):
        _gate().check(_bearer(BOB), "embed")


def test_without_keys_an_authorization_means_nothing() -> None:
    """Programs made for OpenAI always send one, and a cluster on a laptop has no keys."""
    gate = _gate(Access(), reachable=True)
    assert gate.is_open
    assert gate.check(_bearer("unused"), "operate") is None
    with gate.entered(_bearer("unused"), "operate"):
        pass


@pytest.mark.parametrize(
    ("required", "reachable", "refused"),
    [(None, True, True), (None, False, False), (True, False, True), (False, True, False)],
)
def test_key_is_required_where_other_machines_can_call(
    required: bool | None, reachable: bool, refused: bool
) -> None:
    """The file may say otherwise; a key that comes must be right in any case."""
    gate = _gate(_access(required), reachable=reachable)
    assert gate.required is refused
    if refused:
        with pytest.raises(Unauthenticated):
            gate.check(())
    else:
        assert gate.check(()) is None
    with pytest.raises(Unauthenticated):
        gate.check(_bearer(NOBODY))


def test_checking_counts_nothing() -> None:
    """A door may ask before it reads a request, and the call that follows is the one that counts."""
    gate = _gate(_access(requests_per_minute=1))
    for _ in range(3):
        assert gate.check(_bearer(ALICE), "embed") == "alice"
    with gate.entered(_bearer(ALICE), "embed"):
        pass
    with pytest.raises(TooFast), gate.entered(_bearer(ALICE), "embed"):
        pass


def test_key_that_is_not_allowed_takes_no_token() -> None:
    """What never had a chance costs its caller nothing."""
    gate = _gate(_access(requests_per_minute=1))
    for _ in range(3):
        with pytest.raises(KeyNotAllowed), gate.entered(_bearer(ALICE), "operate"):
            pass
    with gate.entered(_bearer(ALICE), "embed"):
        pass


def test_keys_that_are_unchanged_keep_what_they_have_used_over_a_reload() -> None:
    """Reloading the file is no way to a full bucket, nor to forget the calls in flight."""
    gate = _gate(_access(max_concurrent_calls=1))
    with gate.entered(_bearer(ALICE), "embed"):
        gate.adopt(_access(max_concurrent_calls=1, allow=("embed",)))
        with pytest.raises(TooManyAtOnce), gate.entered(_bearer(ALICE), "embed"):
            pass
    with gate.entered(_bearer(ALICE), "embed"):
        pass


def test_reload_holds_for_the_next_call() -> None:
    """A key that was taken away, replaced, or given other limits is treated so from then on."""
    gate = _gate(_access(max_concurrent_calls=1))
    with gate.entered(_bearer(ALICE), "embed"):
        gate.adopt(_access(max_concurrent_calls=2))
        with gate.entered(_bearer(ALICE), "embed"):
            pass
        gate.adopt(Access(keys={"alice": Key(hash=hash_of(NOBODY))}))
        with pytest.raises(Unauthenticated):
            gate.check(_bearer(ALICE))
        assert gate.check(_bearer(NOBODY)) == "alice"


def test_metrics_name_keys_as_the_configuration_does() -> None:
    """What was refused is counted by its reason; what came in, by the name of the key."""
    registry = CollectorRegistry()
    gate = Gate(_access(requests_per_minute=1), registry, reachable=True)
    with gate.entered(_bearer(ALICE), "embed"):
        pass
    for metadata, permission in (((), None), (_bearer(NOBODY), None), (_bearer(ALICE), "operate")):
        with pytest.raises(CallError), gate.entered(metadata, permission):  # type: ignore[arg-type]
            pass
    with pytest.raises(TooFast), gate.entered(_bearer(ALICE), "embed"):
        pass
    assert _metric(registry, "inglenook_key_calls_total") == {"alice": 1}
    assert _metric(registry, "inglenook_access_refused_total") == {
        "UNAUTHENTICATED": 2,
        "KEY_NOT_ALLOWED": 1,
        "RATE_LIMITED": 1,
    }


def test_call_that_fails_is_no_longer_in_flight() -> None:
    """However a call ends, its place is free again."""
    gate = _gate(_access(max_concurrent_calls=1))
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), gate.entered(_bearer(ALICE), "embed"):
            raise ZeroDivisionError
