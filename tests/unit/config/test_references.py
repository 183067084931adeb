from __future__ import annotations

import pytest

from tests.unit.config.conftest import Accepted, Refused


def test_route_to_a_backend_that_does_not_exist_is_refused_with_what_was_meant(refused: Refused) -> None:
    """A dangling route would otherwise be found by the first caller."""
    assert refused("[routes]\nembed = ['embbed']") == [
        "routes.embed.0: there is no backend embbed (did you mean embed?)"
    ]


def test_route_to_an_unknown_name_says_which_table_to_add(refused: Refused) -> None:
    """Where nothing is alike, the hint is a table that can be copied into the file."""
    assert refused("[routes]\nembed = ['gpu/a.b']") == [
        'routes.embed.0: there is no backend gpu/a.b (add a table [backends."gpu/a.b"])'
    ]


def test_route_may_name_a_backend_of_the_file_or_a_service(accepted: Accepted) -> None:
    """Both kinds of names lead somewhere."""
    text = "[routes]\nembed = ['gpu']\nnli = ['nli']\n[backends.gpu]\nendpoints = ['h:1']"
    routes = accepted(text).routes
    assert {name: route.backends for name, route in routes.items()} == {"embed": ("gpu",), "nli": ("nli",)}


def test_backend_that_no_route_uses_is_refused(refused: Refused) -> None:
    """Replicas that an operator believes to be in use are found out at the start."""
    assert refused("[routes]\nembed = ['embed']\n[backends.gpu]\nendpoints = ['h:1']") == [
        "backends.gpu: is used by no route (name it under [routes] or remove it)"
    ]


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ("[]", "must name at least one backend"),
        ("['nli', 'nli']", "names a backend twice; replicas belong into that backend's endpoints"),
    ],
)
def test_route_names_backends_each_of_them_once(refused: Refused, names: str, problem: str) -> None:
    """A route that leads nowhere is a mistake, and so is one that falls back to where it comes from."""
    assert refused(f"[routes]\nnli = {names}") == [f"routes.nli.backends: {problem}"]


EMBEDDER = "[models.%s]\ncapability = 'embed'\nsource = 'dir:m'\n%s\n"


@pytest.mark.parametrize("route", ["embed = ['embed', 'chat']", "embed = {backends = ['embed', 'chat']}"])
def test_embed_route_with_several_backends_needs_to_know_whose_vectors_compare(
    refused: Refused, accepted: Accepted, route: str
) -> None:
    """A call that moved to another model unnoticed would fill an index with vectors of no use there."""
    models = EMBEDDER % ("a", "vector_space = 's'") + EMBEDDER % ("b", "")
    (problem,) = refused(f"{models}[routes]\n{route}")
    assert problem.startswith("models.b.vector_space: is missing: routes.embed names several backends")
    assert accepted(f"{models}vector_space = 't'\n[routes]\n{route}").models["b"].vector_space == "t"  # type: ignore[union-attr]  # an embedding model
    accepted(f"{models}[routes]\nembed = ['embed']\nnli = ['nli', 'chat']")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "[services.router]\nlisten = '127.0.0.2:7000'\n[services.embed]\nlisten = '127.0.0.2:7000'",
            "services.embed.listen: is the same address as services.router.listen",
        ),
        (
            "[services.router]\nlisten = '127.0.0.1:7000'\nmetrics_listen = '127.0.0.1:7000'",
            "services.router.metrics_listen: is the same address as services.router.listen",
        ),
        (
            "[services.embed]\nlisten = '127.0.0.1:50051'",  # where the router listens by default
            "services.embed.listen: is the same address as services.router.listen",
        ),
        (
            "[services.router]\nlisten = '[::1]:9103'\n[services.embed]\nmetrics_listen = '[::1]:9103'",
            "services.embed.metrics_listen: is the same address as services.router.listen",
        ),
    ],
)
def test_two_servers_on_one_address_are_refused(refused: Refused, text: str, problem: str) -> None:
    """The one that starts second would fail, or worse, share the port."""
    assert refused(text) == [f"{problem} (give each its own port)"]


def test_any_number_of_servers_may_ask_for_a_free_port(accepted: Accepted) -> None:
    """Port 0 is a wish, not an address."""
    text = "[services.router]\nlisten = '127.0.0.1:0'\n[services.embed]\nlisten = '127.0.0.1:0'"
    assert accepted(text).services.embed.listen == "127.0.0.1:0"


def test_service_listens_on_an_address_not_on_a_name(refused: Refused) -> None:
    """What a DNS name resolves to is no choice of an interface."""
    assert refused("[services.embed]\nlisten = 'embed.example:50053'") == [
        "services.embed.listen: must have an IP address or localhost as its host (0.0.0.0 means all)"
    ]


@pytest.mark.parametrize("reference", ["env:ABSENT", "file:/nowhere/token"])
def test_missing_secret_is_told_before_anything_starts(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, reference: str
) -> None:
    """A trace collector that refuses every span would be noticed weeks later."""
    monkeypatch.delenv("ABSENT", raising=False)
    (problem,) = refused(f"[telemetry.otlp_headers]\n'x-api.key' = '{reference}'")
    assert problem.startswith(f'telemetry.otlp_headers."x-api.key": {reference} ')
    assert problem.endswith(" (set it before starting)")


def test_secret_that_is_there_is_accepted_and_stays_a_reference(
    accepted: Accepted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The configuration never holds the secret itself, so that it can be shown."""
    monkeypatch.setenv("TOKEN", "hunter2")
    configuration = accepted("[telemetry.otlp_headers]\nauthorization = 'env:TOKEN'")
    assert configuration.telemetry.otlp_headers == {"authorization": "env:TOKEN"}
    assert "hunter2" not in configuration.model_dump_json() + repr(configuration)
