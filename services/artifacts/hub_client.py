"""The hub, asked for one repository: what it has, and its files, resumed where a download broke off.

Speaks through the session of huggingface_hub, so that proxies, certificates and tokens are those of the hub's
own tools.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from services.artifacts.hub_cache import BLOB, MALFORMED, is_plain
from services.artifacts.hub_errors import Asked, explained, no_hub
from services.artifacts.problem import ArtifactProblem
from services.artifacts.record import hash_file

if TYPE_CHECKING:
    from httpx2 import Response
    from huggingface_hub.hf_api import RepoSibling

WAITS: Final = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each further try, while nothing arrives."""
LONGEST_WAIT: Final = 60.0
"""Seconds that are waited at most when the hub says how long to wait."""
TRANSIENT: Final = (408, 416, 429, 500, 502, 503, 504)
PARTIAL_CONTENT: Final = 206
UNSATISFIABLE: Final = 416

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file that the hub has.

    Attributes:
        name: Its name within the repository.
        blob: Hash that names its content: SHA-256 for large files, git's SHA-1 of a blob for small ones.
        size: Its size in bytes.
    """

    name: str
    blob: str
    size: int


@dataclass(frozen=True, slots=True)
class Transfer:
    """How far the download of a file is.

    Attributes:
        name: Its name within the repository.
        received: Bytes that are here.
        size: Bytes that it has.
    """

    name: str
    received: int
    size: int


class Connection:
    """Asks one hub for one repository. Blocks.

    Args:
        asked: The hub and the repository.
        token: Token to send; None for the one that the hub's own tools would send, if any.
    """

    def __init__(self, asked: Asked, token: str | None) -> None:
        # Only where something has to be downloaded.
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # exported, undeclared

        self._asked = asked
        self._token = token
        self._headers = {**build_hf_headers(token=token), "Accept-Encoding": "identity"}

    def listing(self) -> dict[str, RemoteFile | None]:
        """Return the files of the repository, by name; None for those that nothing else is told about.

        Files whose names no file of ours may have are left out.

        Raises:
            ArtifactProblem: The hub cannot be reached, refuses, or answers as no hub does.
        """
        from huggingface_hub import HfApi

        repository, timeout = self._asked.repository, self._asked.timeout_seconds
        api = HfApi(endpoint=self._asked.endpoint, token=self._token)
        with explained(self._asked):
            try:
                info = _patiently(
                    lambda: api.model_info(
                        repository.name, revision=repository.revision, timeout=timeout, files_metadata=True
                    )
                )
                siblings = info.siblings or []
                files = {one.rfilename: _described(one) for one in siblings if is_plain(one.rfilename)}
            except MALFORMED as error:  # not the JSON of a hub
                raise ArtifactProblem(no_hub(self._asked)) from error
            if info.sha != repository.revision or not siblings:
                raise ArtifactProblem(no_hub(self._asked))
            return files

    def look_up(self, name: str) -> RemoteFile:
        """Return what is known of a file that the listing says nothing about, as with some mirrors.

        Raises:
            ArtifactProblem: The hub cannot be reached, refuses, or does not tell the file's hash and size.
        """
        from huggingface_hub import get_hf_file_metadata

        asked, url = self._asked, self._url(name)
        with explained(asked, name):
            found = _patiently(
                lambda: get_hf_file_metadata(
                    url, token=self._token, timeout=asked.timeout_seconds, endpoint=asked.endpoint
                )
            )
        if found.etag is None or not BLOB.fullmatch(found.etag) or found.size is None:
            message = f"{asked.host} does not tell hash and size of {name}, so it could not be checked"
            raise ArtifactProblem(message)
        return RemoteFile(name, found.etag, found.size)

    def download(self, file: RemoteFile, tell: Callable[[Transfer], None]) -> None:
        """Bring a file into the hub's cache, or what is missing of it, and check its hash.

        Raises:
            ArtifactProblem: It cannot be fetched or kept, or what arrived is something else.
        """
        # The lock that the hub's own tools take, too: services that start together fetch a file once.
        from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]  # exported, undeclared

        repository = self._asked.repository
        blob, lock = repository.blob(file.blob), repository.lock(file.blob)
        with explained(self._asked, file.name):
            lock.parent.mkdir(parents=True, exist_ok=True)
            blob.parent.mkdir(parents=True, exist_ok=True)
            with WeakFileLock(lock):
                # A damaged blob that no file of this commit links to is replaced, not reported.
                if not blob.is_file() or hash_file(blob, file.blob)[1] != file.blob:
                    self._complete(file, repository.partial(file.blob), tell)
                    os.replace(repository.partial(file.blob), blob)
                repository.link(file.name, file.blob)

    def _complete(self, file: RemoteFile, partial: Path, tell: Callable[[Transfer], None]) -> None:
        kept = _size(partial)
        if kept > file.size:
            partial.unlink()
        hashed = self._attempt(file, partial, tell)
        if hashed != file.blob and kept:  # what was kept from another time may have been damaged
            hashed = self._attempt(file, partial, tell)
        if hashed != file.blob:
            message = (
                f"{file.name} of {self._asked.repository} arrived damaged: its hash is {hashed}, and "
                f"{self._asked.host} announced {file.blob}; try again, and check hub.endpoint and proxies if "
                "it stays"
            )
            raise ArtifactProblem(message)

    def _attempt(self, file: RemoteFile, partial: Path, tell: Callable[[Transfer], None]) -> str:
        """Complete `partial` and return its hash; one that is wrong leaves nothing behind."""
        _patiently(lambda: self._receive(file, partial, tell), lambda: _size(partial))
        hashed = hash_file(partial, file.blob)[1]
        if hashed != file.blob:
            partial.unlink()
        return hashed

    def _receive(self, file: RemoteFile, partial: Path, tell: Callable[[Transfer], None]) -> None:
        """Append to `partial` what it lacks, as far as one request gets."""
        from httpx2 import RemoteProtocolError
        from huggingface_hub import get_session, hf_raise_for_status

        kept = _size(partial)
        tell(Transfer(file.name, kept, file.size))
        if kept == file.size:
            partial.touch()  # an empty file has no request of its own
            return
        url, timeout = self._url(file.name), self._asked.timeout_seconds
        headers = {**self._headers, "Range": f"bytes={kept}-"} if kept else self._headers
        with get_session().stream("GET", url, headers=headers, timeout=timeout) as response:
            if response.status_code == UNSATISFIABLE:
                partial.unlink(missing_ok=True)
            hf_raise_for_status(response)
            received = kept if _continues(response, kept) else 0
            with partial.open("ab" if received else "wb") as content:
                for chunk in response.iter_bytes():  # as they arrive, so that a break loses nothing
                    content.write(chunk)
                    received += len(chunk)
                    tell(Transfer(file.name, min(received, file.size), file.size))
                    if received > file.size:
                        return  # the hash is going to tell
        if received < file.size:
            message = "the answer ended early"
            raise RemoteProtocolError(message, request=response.request)

    def _url(self, name: str) -> str:
        from huggingface_hub import hf_hub_url

        asked = self._asked
        repository = asked.repository
        return hf_hub_url(repository.name, name, revision=repository.revision, endpoint=asked.endpoint)


def prepare_library() -> None:
    """Make huggingface_hub quiet: it tells nobody about us, and our logs nothing that is secret."""
    # Imported here because a process without hf: sources must not pay for it. The client's logging first: it
    # adds its handler when it is imported.
    import huggingface_hub.utils.logging
    from huggingface_hub import constants

    # Where telemetry is on, the client asks for a list of programs and sends which one this is; it asks the
    # real hub, even if a mirror is configured.
    constants.HF_HUB_DISABLE_TELEMETRY = True
    # Its handler writes to standard error, past the format of our logs; what it logs reaches those anyway.
    logging.getLogger(huggingface_hub.__name__).handlers.clear()
    # Addresses of content are signed: whoever reads one in a log can fetch it.
    for name in ("httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _described(sibling: RepoSibling) -> RemoteFile | None:
    blob = sibling.lfs.sha256 if sibling.lfs else sibling.blob_id
    size = sibling.lfs.size if sibling.lfs else sibling.size
    if not isinstance(blob, str) or not BLOB.fullmatch(blob) or not isinstance(size, int) or size < 0:
        return None
    return RemoteFile(sibling.rfilename, blob, size)


def _patiently(ask: Callable[[], T], progress: Callable[[], int] = lambda: 0) -> T:
    """Return what `ask` returns, asking again while it is worth it.

    A silent hub is not asked again: the timeout has been waited for already.

    Args:
        ask: What to do.
        progress: Tells how far that has got; a try that got further is no failure.
    """
    failures = 0
    while True:
        before = progress()
        try:
            return ask()
        except Exception as error:
            wait = _worth_waiting(error)
            if progress() > before:
                failures = 0
            if wait is None or failures == len(WAITS):
                raise
            time.sleep(max(wait, WAITS[failures]))  # in the thread of one load, or in the command line
            failures += 1


def _worth_waiting(error: Exception) -> float | None:
    """Return how many seconds the hub wants to be left alone, None if asking again is of no use."""
    from httpx2 import NetworkError, RemoteProtocolError
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        said = error.response.headers.get("Retry-After", "")
        wait = min(float(said), LONGEST_WAIT) if said.isdecimal() else 0.0
        return wait if error.response.status_code in TRANSIENT else None
    return 0.0 if isinstance(error, (NetworkError, RemoteProtocolError)) else None


def _continues(response: Response, kept: int) -> bool:
    """Tell whether an answer begins where the kept part ends; if not, it is the whole file."""
    begins = response.headers.get("Content-Range", "").startswith(f"bytes {kept}-")
    return kept > 0 and response.status_code == PARTIAL_CONTENT and begins


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
