"""How the tool reaches a router that asks for TLS, certificates and keys."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import HealthServicer
from inglenook.model.v1 import (
    ListModelsResponse,
    ModelServiceServicer,
    add_ModelServiceServicer_to_server,
)
from typer.testing import CliRunner, Result

from services.chassis.tls import neighbor, server_credentials
from services.cli.cluster import Child
from services.cli.main import app
from services.config import Tls, new_key
from tests.support.certificates import Files

KEY = new_key()


@dataclass
class Remembering(ModelServiceServicer):
    """Lists no models, and remembers what came with the calls."""

    metadata: list[dict[str, str | bytes]] = field(default_factory=list)
    address: str = ""

    def ListModels(self, request: Any, context: Any) -> Any:
        """Answer."""
        del request
        self.metadata.append({pair.key: pair.value for pair in context.invocation_metadata()})
        return ListModelsResponse()

    GetModel = LoadModel = UnloadModel = CountTokens = ListModels


@contextmanager
def _router(tls: Tls | None = None) -> Iterator[Remembering]:
    with ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads, options=[("grpc.so_reuseport", 0)])
        router = Remembering()
        add_ModelServiceServicer_to_server(router, server)
        health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(), server)
        if tls is None:
            port = server.add_insecure_port("127.0.0.1:0")
        else:
            port = server.add_secure_port("127.0.0.1:0", server_credentials(tls))
        router.address = f"127.0.0.1:{port}"
        server.start()
        try:
            yield router
        finally:
            server.stop(0).wait()


def _list(*options: str, router: str | None) -> Result:
    where = ["--router", router] if router is not None else []
    return CliRunner().invoke(app, [*options, "models", "list", "--timeout", "5", *where])


def test_key_of_the_environment_goes_with_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the usual variable, or the one that is named; without one no key goes."""
    with _router() as router:
        monkeypatch.delenv("INGLENOOK_API_KEY", raising=False)
        assert _list(router=router.address).exit_code == 0
        monkeypatch.setenv("INGLENOOK_API_KEY", KEY)
        assert _list(router=router.address).exit_code == 0
        monkeypatch.setenv("OTHER", "other-key")
        assert _list("--api-key-env", "OTHER", router=router.address).exit_code == 0
    shown = [one.get("authorization") for one in router.metadata]
    assert shown == [None, f"Bearer {KEY}", "Bearer other-key"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--api-key-env", "NOT_SET"], "there is no API key in the environment variable NOT_SET"),
        (["--api-key-env", "ODD"], "the environment variable ODD holds no API key"),
        (["--tls-cert", "c.pem"], "--tls-cert and --tls-key need each other"),
        (["--tls-cert", "c.pem", "--tls-key", "k.pem"], "TLS needs --tls-ca"),
        (["--tls-name", "router"], "TLS needs --tls-ca"),
        (["--tls-ca", "nowhere.pem"], "nowhere.pem cannot be read"),
    ],
)
def test_options_that_do_not_suffice_are_told(
    monkeypatch: pytest.MonkeyPatch, options: Sequence[str], told: str
) -> None:
    """With the exit code of a wrong command line; the variable's content is not repeated."""
    monkeypatch.setenv("ODD", "two words")
    done = _list(*options, router="127.0.0.1:1")
    assert done.exit_code == 2
    assert told in done.output
    assert "two words" not in done.output


def test_router_with_tls_is_reached_with_its_authority(tmp_path: Path) -> None:
    """And not without; a router that is called by another name needs that name."""
    files, others = Files.written(tmp_path), Files.written(tmp_path, "others")
    files.renew(None, "router.example")
    with _router(files.server()) as router:
        ca = ["--tls-ca", str(files.ca)]
        assert _list(*ca, "--tls-name", "router.example", router=router.address).exit_code == 0
        named = ["--tls-ca", str(others.ca), "--tls-name", "router.example"]
        for options, told in (
            (ca, "could not be made secure: its certificate is for another name"),
            (named, "could not be made secure: its certificate is of no authority"),
            ([], "it may speak TLS, which needs --tls-ca"),
        ):
            done = _list(*options, router=router.address)
            assert done.exit_code == 1
            assert told in done.output
    with _router() as plain:
        done = _list("--tls-ca", str(files.ca), router=plain.address)
        assert "could not be made secure: what answers there does not speak TLS" in done.output


def test_router_that_asks_for_a_certificate_is_shown_one(tmp_path: Path) -> None:
    """Mutual TLS from the command line."""
    files, clients = Files.written(tmp_path), Files.written(tmp_path, "clients")
    shown = ["--tls-cert", str(clients.certificate), "--tls-key", str(clients.key)]
    with _router(files.server(clients=clients.ca)) as router:
        assert _list("--tls-ca", str(files.ca), *shown, router=router.address).exit_code == 0
        done = _list("--tls-ca", str(files.ca), router=router.address)
        assert done.exit_code == 1
        assert "--tls-cert" in done.output


@pytest.mark.parametrize("names", [["127.0.0.1"], ["router.example"], ["*.example"]])
def test_configuration_file_suffices_on_the_machine_of_the_router(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    """Whatever name the certificate is for: the file names the very certificate, which is trusted."""
    files = Files.written(tmp_path)
    files.renew(None, *names)
    path = tmp_path / "inglenook.toml"
    monkeypatch.setenv("INGLENOOK_CONFIG", str(path))
    with _router(files.server()) as router:
        table = f'tls = {{ certificate = "{files.certificate}", key = "{files.key}" }}'
        path.write_text(f'[services.router]\nlisten = "{router.address}"\n{table}\n', encoding="utf-8")
        assert _list(router=None).exit_code == 0
    others = Files.written(tmp_path, "others")
    with _router(others.server()) as impostor:
        path.write_text(f'[services.router]\nlisten = "{impostor.address}"\n{table}\n', encoding="utf-8")
        assert _list(router=None).exit_code == 1


@pytest.mark.parametrize("mutual", [False, True])
def test_cluster_sees_that_a_service_with_tls_serves(tmp_path: Path, mutual: bool) -> None:
    """`inglenook up` would wait for it forever otherwise; to one that asks it shows that one's own."""
    files = Files.written(tmp_path)
    tls = files.server(clients=files.ca if mutual else None)
    with _router(tls) as router, subprocess.Popen([sys.executable, "-c", ""]) as process:
        assert Child("embed", router.address, process, None, tls=neighbor(tls)).serving()
        assert not Child("embed", router.address, process, None).serving()
