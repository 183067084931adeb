"""TLS of servers and of channels, from files that may be replaced while the process runs.

Files are looked at whenever a connection begins, which costs a few microseconds: an operator, or whatever
renews certificates, only has to replace them. What cannot be used, such as a certificate whose key has not
been replaced yet, changes nothing: the last good files stay in force and the log says so once. Connections
that exist are left alone; `grpc.max_connection_age_ms` ends them within minutes.
"""

from __future__ import annotations

import itertools
import logging
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeAlias, TypeVar

import grpc

from services.config import ClientTls, Tls

Stamp: TypeAlias = tuple[tuple[int, int, int], ...]
"""What changes when files are replaced: identity, time and size of each."""
NOTHING: Final[Stamp] = ()
"""Stands for files of which one is not there."""
Made = TypeVar("Made")

HTTP_PROTOCOLS: Final = ["http/1.1"]
NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which Python has no name for: an expired certificate is read, too."""

log: Final = logging.getLogger(__name__)


class CertificatesUnusable(Exception):
    """Certificates cannot be read, or do not belong together; the message names the file and the reason."""


class Watched(Generic[Made]):
    """What is made of some files, made again when they have changed. Safe to use from any thread.

    Args:
        files: The files.
        make: Makes it.

    Raises:
        CertificatesUnusable: It cannot be made of the files as they are now.
    """

    def __init__(self, files: Sequence[Path | None], make: Callable[[], Made]) -> None:
        self._files = [file for file in files if file is not None]
        self._make = make
        self._lock = threading.Lock()
        self._stamp = _stamp(self._files)
        self._made = make()
        self._failed: Stamp | None = None

    def latest(self) -> Made:
        """Return what the files make, or made when they were last good."""
        with self._lock:
            now = NOTHING
            try:
                now = _stamp(self._files)
                if now not in (self._stamp, self._failed):
                    made = self._make()
                    if _stamp(self._files) == now:  # else it may be a mixture of old and new
                        self._stamp, self._made, self._failed = now, made, None
                        log.info("certificates were replaced", extra={"file": str(self._files[0])})
            except CertificatesUnusable as error:
                self._note_failure(error, now)
            return self._made

    def _note_failure(self, error: CertificatesUnusable, failed: Stamp) -> None:
        """Log a failure of files as they were before they were read, unless the same files failed before.

        What replaces them meanwhile has not failed: it is looked at with the next connection.
        """
        if failed != self._failed:
            log.error("certificates cannot be used; the last good ones stay", extra={"problem": str(error)})
        self._failed = failed


def server_credentials(tls: Tls) -> grpc.ServerCredentials:
    """Return credentials for a gRPC server; every handshake gets what the files hold then.

    Raises:
        CertificatesUnusable: The files cannot be used.
    """
    watched = Watched(_files(tls), lambda: _server_configuration(tls))
    given = watched.latest()

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal given
        latest = watched.latest()
        if latest is given:
            return None  # no change
        given = latest
        return latest

    asked: Any = fetch  # typed as if it had to return one
    return grpc.dynamic_ssl_server_credentials(
        given, asked, require_client_authentication=tls.client_ca is not None
    )


def server_context(tls: Tls) -> ssl.SSLContext:
    """Return the context of an HTTP/1.1 server; every handshake gets what the files hold then.

    The context that is returned only begins handshakes: the name that a client asks for, or does not, is
    where OpenSSL lets a server change its mind, and authorities could not be taken out of a context again.

    Raises:
        CertificatesUnusable: The files cannot be used.
    """
    watched = Watched(_files(tls), lambda: _http_context(tls))

    def choose(connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        del name, context
        connection.context = watched.latest()

    front = _http_context(tls)
    front.sni_callback = choose
    return front


@dataclass(frozen=True, slots=True)
class Secured:
    """What a channel needs to speak TLS.

    Attributes:
        credentials: Whom to trust, and what to show.
        server_name: Whose certificate is expected: a name or an IP address.
    """

    credentials: grpc.ChannelCredentials
    server_name: str

    @property
    def options(self) -> tuple[tuple[str, str], ...]:
        """Channel arguments. gRPC would expect a certificate for what follows the scheme of the target."""
        return (("grpc.ssl_target_name_override", self.server_name),)


@dataclass(frozen=True, slots=True)
class _Numbered:
    number: int
    credentials: grpc.ChannelCredentials


class ClientFiles:
    """What a client knows servers by, and shows to them.

    Args:
        tls: The files.

    Raises:
        CertificatesUnusable: The files cannot be used.
    """

    def __init__(self, tls: ClientTls) -> None:
        numbers = itertools.count()
        self._watched = Watched(
            (tls.ca, tls.certificate, tls.key), lambda: _Numbered(next(numbers), _channel_credentials(tls))
        )
        self._name = tls.server_name

    @property
    def version(self) -> int:
        """A number that grows whenever the files have changed; a channel keeps those that it began with."""
        return self._watched.latest().number

    def secured(self, host: str) -> Secured:
        """Return what a channel to `host` needs: a name, or an address, that the certificate is for."""
        return Secured(self._watched.latest().credentials, self._name or host)


def neighbor(tls: Tls) -> Secured:
    """Return what a channel needs to a server on this machine whose certificates these are.

    It trusts that very certificate and no authority, and shows it too, should clients have to show one.

    Raises:
        CertificatesUnusable: The files cannot be used.
    """
    _http_context(tls)
    chain, key = _read(tls.certificate), _read(tls.key)
    return Secured(grpc.ssl_channel_credentials(chain, key, chain), _name_of(tls))


def expiry(tls: Tls) -> Callable[[], float]:
    """Return what tells when the certificate in force expires, in seconds since 1970.

    Raises:
        CertificatesUnusable: The files cannot be used.
    """

    def read() -> float:
        return ssl.cert_time_to_seconds(_contents(tls)["notAfter"])

    return Watched(_files(tls), read).latest


def _name_of(tls: Tls) -> str:
    """Return a name that a certificate is for."""
    names = [name for _, name in _contents(tls).get("subjectAltName", ())]
    return names[0].replace("*", "any") if names else "localhost"


def _contents(tls: Tls) -> Any:
    """Return what a certificate says, as `ssl.SSLSocket.getpeercert` tells it.

    Python tells it only to who has shaken hands with its owner, so both are played here.
    """
    ours, theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _load_pair(server, tls.certificate, tls.key)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | NO_CHECK_TIME
    client.load_verify_locations(tls.certificate)
    asking = client.wrap_bio(ours, theirs)
    answering = server.wrap_bio(theirs, ours, server_side=True)
    try:
        for side in (asking, answering, asking):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
        return asking.getpeercert() or {}
    except (ssl.SSLError, ValueError) as error:
        message = f"{tls.certificate} cannot be read: {getattr(error, 'verify_message', '') or error}"
        raise CertificatesUnusable(message) from error


def _files(tls: Tls) -> Sequence[Path | None]:
    return (tls.certificate, tls.key, tls.client_ca)


def _stamp(files: Sequence[Path]) -> Stamp:
    found = []
    for file in files:
        try:
            status = file.stat()
        except OSError as error:
            raise _unreadable(file, error) from error
        found.append((status.st_ino, status.st_mtime_ns, status.st_size))
    return tuple(found)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: OSError) -> CertificatesUnusable:
    return CertificatesUnusable(f"{file} cannot be read: {error.strerror}")


def _server_configuration(tls: Tls) -> grpc.ServerCertificateConfiguration:
    chain, key = _read(tls.certificate), _read(tls.key)
    authorities = _read(tls.client_ca) if tls.client_ca is not None else None
    _http_context(tls)  # gRPC finds out during a handshake, and tells nobody
    return grpc.ssl_server_certificate_configuration([(key, chain)], authorities)


def _http_context(tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(HTTP_PROTOCOLS)
    _load_pair(context, tls.certificate, tls.key)
    if tls.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        # A session that is resumed is not verified again, though its authority may be one no longer.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
        _load_authorities(context, tls.client_ca)
    return context


def _channel_credentials(tls: ClientTls) -> grpc.ChannelCredentials:
    authorities = _read(tls.ca)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _load_authorities(context, tls.ca)
    if tls.certificate is None or tls.key is None:
        return grpc.ssl_channel_credentials(authorities)
    chain, key = _read(tls.certificate), _read(tls.key)
    _load_pair(context, tls.certificate, tls.key)
    return grpc.ssl_channel_credentials(authorities, key, chain)


def _load_pair(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    _read(key)
    _read(certificate)
    try:
        # Of a key with a passphrase, which nobody could type, OpenSSL would ask the terminal.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (ssl.SSLError, OSError, ValueError) as error:
        message = f"{certificate} and {key} are not a certificate in PEM and its key, without a passphrase"
        raise CertificatesUnusable(message) from error


def _load_authorities(context: ssl.SSLContext, file: Path) -> None:
    _read(file)
    try:
        context.load_verify_locations(file)
    except (ssl.SSLError, OSError) as error:
        message = f"{file} holds no certificate in PEM"
        raise CertificatesUnusable(message) from error
