"""What went wrong at the hub, in words that say what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from services.artifacts.hub_cache import Repository
from services.artifacts.problem import ArtifactProblem

if TYPE_CHECKING:
    from httpx2 import HTTPError
    from huggingface_hub.errors import HfHubHTTPError

FULL: Final = (errno.ENOSPC, errno.EDQUOT)
INVALID_TOKEN: Final = "Invalid credentials in Authorization header"
TOO_MANY_REQUESTS: Final = 429
UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
SERVER_ERROR: Final = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """Who is asked for what.

    Attributes:
        repository: What is asked for.
        endpoint: Address of the hub.
        timeout_seconds: How long it may be silent.
        with_token: Whether a token goes with the question.
    """

    repository: Repository
    endpoint: str
    timeout_seconds: float
    with_token: bool

    @property
    def host(self) -> str:
        """Host of the hub, and its port if it is not the usual one."""
        return host_of(self.endpoint)

    @property
    def page(self) -> str:
        """Address of the repository's page."""
        parts = urlsplit(self.endpoint)
        return f"{parts.scheme}://{self.host}{parts.path}/{self.repository.name}"


def host_of(address: str) -> str:
    """Return the host of an address, with its port if there is one, and nothing else that it may hold.

    Raises:
        ValueError: It is no address.
    """
    parts = urlsplit(address)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


@contextmanager
def explained(asked: Asked, name: str | None = None) -> Iterator[None]:
    """Turn what the hub's client and the file system raise into a problem that says what to do.

    Args:
        asked: Who is asked for what.
        name: The file in question; None when it is about the repository.
    """
    # These come with the hub's client, which is imported where a source asks for it. It lets the errors of
    # its HTTP library through.
    from httpx2 import HTTPError, InvalidURL
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except HfHubHTTPError as error:
        raise ArtifactProblem(_refused(asked, error, name)) from error
    except HTTPError as error:
        raise ArtifactProblem(_unanswered(asked, error)) from error
    except InvalidURL as error:
        message = (
            f"{asked.host} is no address, or sends to one that is none; check hub.endpoint and HF_ENDPOINT"
        )
        raise ArtifactProblem(message) from error
    except OSError as error:
        raise ArtifactProblem(_unwritten(asked, error, name)) from error


def no_hub(asked: Asked) -> str:
    """Return what to say of something that answers, but not as a hub does."""
    return f"{asked.host} does not answer as a hub does; check hub.endpoint, HF_ENDPOINT and proxies"


def _refused(asked: Asked, error: HfHubHTTPError, name: str | None) -> str:
    """Return what to say of an answer that is an error."""
    status = error.response.status_code
    if told := _named(asked, error, name):
        return told
    who = _who(asked, str(error.response.url))
    if who != asked.host:
        return f"{who} answers {status}; check proxies and firewalls, and try again"
    if asked.with_token and error.response.headers.get("X-Error-Message") == INVALID_TOKEN:
        return (
            f"{asked.host} refuses the token: it is wrong or has expired; check hub.token, HF_TOKEN or the "
            "login of the hub's own tools"
        )
    if status in (UNAUTHORIZED, FORBIDDEN, NOT_FOUND):
        access = (
            "that the token may read it" if asked.with_token else "set hub.token or HF_TOKEN if it is private"
        )
        name = asked.repository.name
        return f"{asked.host} shows no repository {name} ({status}): check the name, and {access}"
    if status == TOO_MANY_REQUESTS:
        limits = "wait" if asked.with_token else "wait, or set hub.token for higher limits"
        return f"{asked.host} answers 429, too many requests, again and again; {limits}"
    again = ", again and again; try again later" if status >= SERVER_ERROR else f"; {no_hub(asked)}"
    return f"{asked.host} answers {status}{again}"


def _named(asked: Asked, error: HfHubHTTPError, name: str | None) -> str | None:
    """Return what to say of an error that the hub has a name for, in the header `X-Error-Code`."""
    from huggingface_hub.errors import (
        DisabledRepoError,
        GatedRepoError,
        RemoteEntryNotFoundError,
        RevisionNotFoundError,
    )

    repository = asked.repository
    match error:
        case GatedRepoError():
            who = (
                "the account of the token"
                if asked.with_token
                else "an account, and set hub.token to its token"
            )
            return f"hf:{repository.name} is gated: accept its terms at {asked.page} with {who}"
        case DisabledRepoError():
            return f"access to hf:{repository.name} has been disabled, see {asked.page}"
        case RevisionNotFoundError():
            return (
                f"hf:{repository.name} has no commit {repository.revision}, or no longer; copy a full commit "
                f"hash from {asked.page}/commits/main"
            )
        case RemoteEntryNotFoundError():
            file = name or "such file"
            return f"{repository} has no {file}, although {asked.host} lists it; try another commit"
    return None


def _unanswered(asked: Asked, error: HTTPError) -> str:
    from httpx2 import ConnectTimeout, NetworkError, RemoteProtocolError, TimeoutException

    try:
        who = _who(asked, str(error.request.url))
    except RuntimeError:  # it was raised without a request
        who = asked.host
    if isinstance(error, TimeoutException) and not isinstance(error, ConnectTimeout):
        return (
            f"{who} was silent for {asked.timeout_seconds:g} seconds; what has arrived is kept: try again, "
            "or raise hub.timeout_seconds"
        )
    if isinstance(error, RemoteProtocolError):
        return f"{who} broke the connection, again and again; what has arrived is kept: try again later"
    if isinstance(error, (ConnectTimeout, NetworkError)):
        why = f": {error}" if str(error) else ""
        return (
            f"{who} cannot be reached{why}; check hub.endpoint, HF_ENDPOINT, proxies and the network, or "
            "download elsewhere and set hub.offline"
        )
    return f"{no_hub(asked)} ({type(error).__name__})"


def _who(asked: Asked, address: str) -> str:
    """Return who answers at an address: the hub, or who keeps large files for it."""
    host = host_of(address)
    return asked.host if host == asked.host else f"{host}, where {asked.host} keeps large files,"


def _unwritten(asked: Asked, error: OSError, name: str | None) -> str:
    cache, what = asked.repository.cache, name or "the repository"
    if error.errno in FULL:
        return (
            f"the disk is full: {what} of {asked.repository} does not fit into {cache}; make room there, or "
            "set HF_HUB_CACHE to a larger disk; what has arrived is kept"
        )
    why = error.strerror or type(error).__name__
    return f"{what} of {asked.repository} cannot be kept in {cache}: {why}; check that the folder is writable"
