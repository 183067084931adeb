"""How the tool connects to the router: what its options say, else what the configuration file says."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from services.chassis.tls import ClientFiles, Secured, neighbor
from services.cli.client import Means
from services.config import ClientTls, Configuration, environment, split_address


class NotEnough(Exception):
    """What was chosen does not suffice to connect; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the options of the tool say, whatever the command.

    Attributes:
        ca: Certificates of authorities that the router is trusted by.
        certificate: Certificate chain to show.
        key: Its key.
        server_name: Name that the router's certificate is for.
        api_key_env: Environment variable that has the API key; None for the usual one.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str | None = None
    api_key_env: str | None = None


CHOSEN: ContextVar[Chosen] = ContextVar("chosen", default=Chosen())  # noqa: B039  # it is frozen
"""What was chosen for this run."""


def chosen_means(configuration: Configuration | None, address: str) -> Means:
    """Return how to connect to the router at `address`.

    `configuration` is the file's that says where the router listens; None if the options say it.

    Raises:
        CertificatesUnusable: The files that the options or the configuration name cannot be used.
        NotEnough: An option needs another one, or an environment variable that is not set.
    """
    return Means(_tls(CHOSEN.get(), configuration, address), _api_key(CHOSEN.get()))


def _tls(chosen: Chosen, configuration: Configuration | None, address: str) -> Secured | None:
    if (chosen.certificate is None) != (chosen.key is None):
        message = "--tls-cert and --tls-key need each other"
        raise NotEnough(message)
    if chosen.ca is not None:
        files = ClientTls(
            ca=chosen.ca, certificate=chosen.certificate, key=chosen.key, server_name=chosen.server_name
        )
        return ClientFiles(files).secured(split_address(address)[0])
    if chosen.certificate is not None or chosen.server_name is not None:
        message = "TLS needs --tls-ca, the authorities that the router is trusted by"
        raise NotEnough(message)
    tls = configuration.services.router.tls if configuration is not None else None
    return neighbor(tls) if tls is not None else None


def _api_key(chosen: Chosen) -> str | None:
    name = chosen.api_key_env or environment.API_KEY_VARIABLE
    key = (environment.variable(name) or "").strip()
    if chosen.api_key_env is not None and not key:
        message = f"there is no API key in the environment variable {name}"
        raise NotEnough(message)
    if not key.isascii() or any(character.isspace() for character in key):
        message = f"the environment variable {name} holds no API key: it has other characters than a key"
        raise NotEnough(message)
    return key or None
