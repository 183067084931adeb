from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from prometheus_client import CollectorRegistry

from services.chassis.metrics import tell_expiry
from services.chassis.process import ServiceProcess
from services.chassis.testing import running, settings
from services.chassis.tls import CertificatesUnusable
from services.config import Tls
from tests.support.certificates import Files, der, shown
from tests.support.handlers import Client, HandlerApplication, failure

H2 = "h2"


@asynccontextmanager
async def _serving(tls: Tls, application: HandlerApplication | None = None) -> AsyncIterator[ServiceProcess]:
    chosen = settings()
    service = chosen.service.model_copy(update={"tls": tls})
    built = application or HandlerApplication()
    async with running(lambda _: built, replace(chosen, service=service)) as process:
        yield process


async def test_calls_are_made_over_tls(tmp_path: Path) -> None:
    """A client that trusts the authority is answered; one that trusts another, or none, is not."""
    files, others = Files.written(tmp_path), Files.written(tmp_path, "others")
    async with _serving(files.server()) as process:
        async with files.channel(process.address) as channel:
            assert (await Client(channel).unary("hello")).value == "hello"
        async with others.channel(process.address) as channel:
            assert (await failure(Client(channel).unary())).code is grpc.StatusCode.UNAVAILABLE
        async with grpc.aio.insecure_channel(process.address) as channel:
            assert (await failure(Client(channel).unary())).code is grpc.StatusCode.UNAVAILABLE


async def test_client_without_a_good_certificate_is_not_let_in(tmp_path: Path) -> None:
    """With `client_ca`, a caller shows a certificate of that authority, or does not come in at all."""
    files, clients, others = (Files.written(tmp_path, name) for name in ("server", "clients", "others"))
    async with _serving(files.server(clients=clients.ca)) as process:
        async with files.channel(process.address, shows=clients) as channel:
            assert (await Client(channel).unary("hello")).value == "hello"
        for wrong in (None, others):
            async with files.channel(process.address, shows=wrong) as channel:
                assert (await failure(Client(channel).unary())).code is grpc.StatusCode.UNAVAILABLE


async def test_renewed_certificate_is_shown_to_new_connections_and_old_ones_go_on(tmp_path: Path) -> None:
    """Certificates are renewed every few weeks; nobody restarts a service for it, and no call is lost."""
    files = Files.written(tmp_path)
    arrived, released = asyncio.Event(), asyncio.Event()

    async def answer(request: object, context: object) -> object:
        del context
        arrived.set()
        await released.wait()
        return request

    async with (
        _serving(files.server(), HandlerApplication(unary=answer)) as process,  # type: ignore[arg-type]
        files.channel(process.address) as channel,
    ):
        before = der(files.certificate)
        assert (await shown(process.address, files.context(), H2))[0] == before
        call = Client(channel).unary("old")
        await arrived.wait()
        files.renew()
        assert der(files.certificate) != before
        assert (await shown(process.address, files.context(), H2))[0] == der(files.certificate)
        released.set()
        assert (await call).value == "old"
        assert (await Client(channel).unary("still the old connection")).value


async def test_authority_of_clients_is_renewed_like_the_certificate(tmp_path: Path) -> None:
    """An authority that was taken out of the file lets nobody in any more."""
    files, clients, others = (Files.written(tmp_path, name) for name in ("server", "clients", "others"))
    async with _serving(files.server(clients=clients.ca)) as process:
        clients.replace(clients.ca, others.ca.read_bytes())
        async with files.channel(process.address, shows=others) as channel:
            assert (await Client(channel).unary("hello")).value == "hello"
        async with files.channel(process.address, shows=clients) as channel:
            assert (await failure(Client(channel).unary())).code is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("broken", ["certificate", "key", "both", "gone"])
async def test_files_that_cannot_be_used_change_nothing(
    tmp_path: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The last good pair stays in force, the log says once why, and good files mend it."""
    files = Files.written(tmp_path)
    pair = {"certificate": [files.certificate], "key": [files.key], "gone": []}
    async with _serving(files.server()) as process:
        good = der(files.certificate)
        for file in pair.get(broken, [files.certificate, files.key]):
            files.replace(file, b"-----BEGIN NONSENSE-----\n")
        if broken == "gone":
            files.key.unlink()
        with caplog.at_level(logging.ERROR, "services.chassis.tls"):
            for _ in range(3):
                assert (await shown(process.address, files.context(), H2))[0] == good
        assert len(caplog.records) == 1
        assert "tls." in caplog.records[0].problem  # type: ignore[attr-defined]
        assert "NONSENSE" not in caplog.text
        files.renew()
        assert (await shown(process.address, files.context(), H2))[0] == der(files.certificate) != good


async def test_pair_that_is_replaced_one_file_after_the_other_is_never_mixed(tmp_path: Path) -> None:
    """Between the two, connections get the old pair."""
    files = Files.written(tmp_path)
    async with _serving(files.server()) as process:
        old = der(files.certificate)
        issued = files.authority.issue_cert("127.0.0.1")
        files.replace(files.key, issued.private_key_pem.bytes())
        assert (await shown(process.address, files.context(), H2))[0] == old
        files.replace(files.certificate, issued.cert_chain_pems[0].bytes())
        assert (await shown(process.address, files.context(), H2))[0] == der(files.certificate) != old


async def test_versions_of_tls_before_1_2_are_refused(tmp_path: Path) -> None:
    """They are broken, and no client of ours needs them."""
    files = Files.written(tmp_path)
    context = files.context()
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    async with _serving(files.server()) as process:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await shown(process.address, context, H2)


@pytest.mark.parametrize("missing", ["certificate", "key", "ca"])
async def test_service_does_not_start_without_its_files(tmp_path: Path, missing: str) -> None:
    """The operator is told which file it is."""
    files = Files.written(tmp_path)
    tls = files.server(clients=files.ca)
    file: Path = getattr(files, missing)
    file.unlink()  # noqa: ASYNC240
    with pytest.raises(CertificatesUnusable, match=f"{file.name} cannot be read: No such file"):
        async with _serving(tls):
            pass


async def test_service_does_not_start_with_a_key_of_another_certificate(tmp_path: Path) -> None:
    """By itself gRPC would start, and fail every handshake."""
    files, others = Files.written(tmp_path), Files.written(tmp_path, "others")
    with pytest.raises(CertificatesUnusable, match="are not a certificate in PEM and its key"):
        async with _serving(Tls(certificate=files.certificate, key=others.key)):
            pass


@pytest.mark.parametrize("year", [2001, 2101])
async def test_metric_tells_when_the_certificate_in_force_expires(tmp_path: Path, year: int) -> None:
    """Renewal that has stopped working is seen weeks before anybody is locked out, and afterwards."""
    expires = datetime(year, 2, 3, tzinfo=UTC)
    files, registry = Files.written(tmp_path), CollectorRegistry()
    files.renew(expires=expires)
    tell_expiry(registry, files.server())
    assert registry.get_sample_value("inglenook_certificate_expires_seconds") == expires.timestamp()
    files.replace(files.key, b"")
    assert registry.get_sample_value("inglenook_certificate_expires_seconds") == expires.timestamp()
    files.renew(expires=datetime(2102, 2, 3, tzinfo=UTC))
    assert registry.get_sample_value("inglenook_certificate_expires_seconds") != expires.timestamp()
