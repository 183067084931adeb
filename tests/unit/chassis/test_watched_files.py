"""What is made of files that are replaced while they are read."""

from __future__ import annotations

import ssl
from contextlib import suppress
from pathlib import Path

import pytest

from services.chassis.tls import CertificatesUnusable, Watched, server_context
from tests.support.certificates import Files


def test_files_that_are_completed_while_they_are_found_unusable_are_looked_at_again(tmp_path: Path) -> None:
    """A certificate comes before its key; in between they do not fit, and then they are not given up."""
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    certificate.write_text("1")
    key.write_text("1")

    def make() -> str:
        shown, kept = certificate.read_text(), key.read_text()
        if shown != kept:
            key.write_text(shown)  # it comes just now
            raise CertificatesUnusable
        return shown

    watched = Watched([certificate, key], make)
    certificate.write_text("new")
    assert [watched.latest() for _ in range(2)] == ["1", "new"]


def test_files_that_cannot_be_used_are_not_read_for_every_connection(tmp_path: Path) -> None:
    """Once is enough, until they change; and what was good stays."""
    file = tmp_path / "tls.crt"
    file.write_text("good")
    reads = []

    def make() -> str:
        reads.append(file.read_text())
        if reads[-1] != "good":
            raise CertificatesUnusable
        return reads[-1]

    watched = Watched([file], make)
    file.write_text("not good")
    assert [watched.latest() for _ in range(3)] == ["good"] * 3
    assert reads == ["good", "not good"]


def shake_hands(
    client: ssl.SSLContext, server: ssl.SSLContext, session: ssl.SSLSession | None
) -> ssl.SSLObject:
    """Return the client's side of a connection."""
    ours, theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(ours, theirs, server_hostname="localhost", session=session)
    answering = server.wrap_bio(theirs, ours, server_side=True)
    for side in (asking, answering) * 3:
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    with suppress(ssl.SSLWantReadError):
        asking.read(1)
    return asking


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_client_of_an_authority_that_was_replaced_cannot_resume_its_session(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    """Sessions live for hours, and are not verified again."""
    files, clients, others = (Files.written(tmp_path, name) for name in ("server", "clients", "others"))
    server = server_context(files.server(clients=clients.ca))
    client = ssl.create_default_context(cafile=str(files.ca))
    client.minimum_version = client.maximum_version = version
    client.load_cert_chain(clients.certificate, clients.key)
    session = shake_hands(client, server, None).session
    others.authority.cert_pem.write_to_path(str(clients.ca))
    with pytest.raises(ssl.SSLError):
        shake_hands(client, server, session)
