"""What is remembered of models whose replicas are all gone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from services.config.sections.models import EmbedModel
from services.router.routing.agreed import Agreed


def pool(*told: str | None, serves: bool = False) -> Any:
    """Return a backend whose replicas have told these fingerprints of the model m; None for none."""
    endpoints = []
    for fingerprint in told:
        models = {} if fingerprint is None else {"m": SimpleNamespace(fingerprint=fingerprint)}
        endpoints.append(SimpleNamespace(serves=serves, catalog=SimpleNamespace(models=models)))

    class Backend:
        """Compared by identity, as pools are."""

        def __init__(self) -> None:
            self.endpoints = endpoints

    return Backend()


def models(source: str = "dir:m") -> dict[str, Any]:
    """Return the models of a configuration."""
    return {"m": EmbedModel(capability="embed", source=source)}


def test_what_replicas_agreed_on_holds_until_one_says_otherwise() -> None:
    """Also one that says nothing of the model any more."""
    for backend, known in [
        (pool("f"), "f"),
        (pool("f", None), "f"),
        (pool("f", "g"), ""),
        (pool(None, serves=True), ""),
    ]:
        agreed = Agreed(models(), [backend])
        agreed.note(backend, "m", "f")
        agreed.note(backend, "unknown", "f")
        assert (agreed.last(backend, "m"), agreed.last(backend, "unknown")) == (known, "")
        agreed.note(backend, "m", "")
        assert agreed.last(backend, "m") == ""


def test_a_reload_forgets_models_and_backends_that_are_not_what_they_were() -> None:
    """What another model of that name answered is told of neither."""
    backend, other = pool("f"), pool("f")
    agreed = Agreed(models(), [backend])
    agreed.note(backend, "m", "f")
    assert Agreed(models(), [backend, other], agreed).last(backend, "m") == "f"
    assert Agreed(models(), [other], agreed).last(backend, "m") == ""
    assert Agreed(models("dir:other"), [backend], agreed).last(backend, "m") == ""
