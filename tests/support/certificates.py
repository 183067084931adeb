"""Certificates in files, which a test replaces while processes use them."""

from __future__ import annotations

import asyncio
import os
import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import grpc
import trustme

from services.config import ClientTls, Tls

HOSTS = ("localhost", "127.0.0.1")


@dataclass(frozen=True)
class Files:
    """An authority, and the certificate of one server in files.

    Attributes:
        folder: Where the files are.
        authority: Makes certificates.
    """

    folder: Path
    authority: trustme.CA

    @classmethod
    def written(cls, folder: Path, name: str = "server") -> Files:
        """Make an authority, and a certificate."""
        folder = folder / name
        folder.mkdir(parents=True)
        files = cls(folder, trustme.CA())
        files.authority.cert_pem.write_to_path(str(files.ca))
        files.renew()
        return files

    @property
    def ca(self) -> Path:
        """The authority's certificate."""
        return self.folder / "ca.pem"

    @property
    def certificate(self) -> Path:
        """The server's certificate chain."""
        return self.folder / "tls.crt"

    @property
    def key(self) -> Path:
        """The key of the server's certificate."""
        return self.folder / "tls.key"

    def server(self, *, clients: Path | None = None) -> Tls:
        """Return the settings of a server; `clients` are the authorities of those that it lets in."""
        return Tls(certificate=self.certificate, key=self.key, client_ca=clients)

    def client(self, *, shows: Files | None = None, name: str | None = None) -> ClientTls:
        """Return the settings of a client of the server; `shows` has what it shows itself."""
        own = {} if shows is None else {"certificate": shows.certificate, "key": shows.key}
        return ClientTls(ca=self.ca, server_name=name, **own)

    def renew(
        self, authority: trustme.CA | None = None, *hosts: str, expires: datetime | None = None
    ) -> None:
        """Put another certificate in the place of the one that is there, as whatever renews them does."""
        issued = (authority or self.authority).issue_cert(*(hosts or HOSTS), not_after=expires)
        self.replace(self.key, issued.private_key_pem.bytes())
        self.replace(self.certificate, b"".join(pem.bytes() for pem in issued.cert_chain_pems))

    def replace(self, file: Path, content: bytes) -> None:
        """Put another file in the place of one, in one step."""
        new = file.with_suffix(".new")
        new.write_bytes(content)
        new.rename(file)

    def context(self, *, shows: Files | None = None) -> ssl.SSLContext:
        """Return what a client of the server connects with that is not gRPC's."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if shows is not None:
            context.load_cert_chain(shows.certificate, shows.key)
        return context

    def channel(self, address: str, *, shows: Files | None = None) -> grpc.aio.Channel:
        """Return a gRPC channel to the server, on a connection of its own."""
        own = (shows.key.read_bytes(), shows.certificate.read_bytes()) if shows is not None else ()
        credentials = grpc.ssl_channel_credentials(self.ca.read_bytes(), *own)
        return grpc.aio.secure_channel(address, credentials, [("grpc.use_local_subchannel_pool", 1)])


async def shown(address: str, context: ssl.SSLContext, protocol: str) -> tuple[bytes, str | None]:
    """Connect and return the certificate that a server shows, in DER, and the protocol it agreed to."""
    host, _, port = address.rpartition(":")
    context.set_alpn_protocols([protocol])
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    del reader
    try:
        found: Any = writer.get_extra_info("ssl_object")
        return found.getpeercert(binary_form=True), found.selected_alpn_protocol()
    finally:
        writer.transport.abort()


def der(file: Path) -> bytes:
    """Return the first certificate of a file in DER."""
    first = file.read_text(encoding="ascii").partition("-----END CERTIFICATE-----")
    return ssl.PEM_cert_to_DER_cert(first[0] + first[1] + os.linesep)
