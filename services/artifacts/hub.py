"""Models from the Hugging Face Hub: what is needed is downloaded, and checked whenever it is used.

What a commit holds never changes. So a repository is asked at most once what is in it, and nothing is asked
when all that is needed is here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from services.artifacts.folder import CONFIG, WEIGHTS, read_json
from services.artifacts.hub_cache import MALFORMED, Repository, is_plain
from services.artifacts.hub_client import Connection, RemoteFile, Transfer, prepare_library
from services.artifacts.hub_errors import Asked, host_of
from services.artifacts.hub_selection import check_buildable, choose_files
from services.artifacts.problem import ArtifactProblem
from services.artifacts.record import FileFacts, Record, hash_file, read_record, write_record
from services.artifacts.wanted import Origins, Report, Wanted
from services.config import Hub, SecretUnavailable, resolve

COMMIT: Final = re.compile(r"[0-9a-f]{40}")
TOKEN: Final = re.compile(r"[!-~]+")
"""What can be sent as a token: printable ASCII without spaces."""
REPORT_SECONDS: Final = 0.5
"""Least time between two sentences about one file."""
MEGABYTE: Final = 1_000_000


class Listener(Protocol):
    """Is told how a download is coming along, from the thread that downloads."""

    def note(self, sentence: str) -> None:
        """Something happened that people may want to know."""

    def transfer(self, transfer: Transfer) -> None:
        """Something arrived; often."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was wanted of a repository, checked.

    Attributes:
        folder: The folder that holds it.
        files: What each of the files is, by its name within the folder.
    """

    folder: Path
    files: Mapping[str, FileFacts]


class Sentences:
    """A listener that puts everything into words, twice a second at most while a file arrives.

    Args:
        report: Is told the sentences.
        clock: Tells the time in seconds, from any point on.
    """

    def __init__(self, report: Report, clock: Callable[[], float] = time.monotonic) -> None:
        self._report = report
        self._clock = clock
        self._name = ""
        self._told_at = 0.0

    def note(self, sentence: str) -> None:
        """Pass the sentence on."""
        self._report(sentence)

    def transfer(self, transfer: Transfer) -> None:
        """Say how much of the file is here, unless that was said a moment ago."""
        now = self._clock()
        if transfer.name == self._name and now - self._told_at < REPORT_SECONDS:
            return
        self._name, self._told_at = transfer.name, now
        received, size = (round(count / MEGABYTE) for count in (transfer.received, transfer.size))
        amount = f", {received} of {size} MB" if size else ""
        self._report(f"downloading {transfer.name}{amount}")


def fetch(wanted: Wanted, origins: Origins, listener: Listener) -> Snapshot:
    """Return the folder of an `hf:` source with everything in it that is wanted, checked.

    What is missing is downloaded. Blocks for as long as that takes.

    Args:
        wanted: Which files of which repository.
        origins: How the hub is asked, and where hashes are recorded.
        listener: Is told how it is coming along.

    Raises:
        ArtifactProblem: The repository lacks something that is needed, it cannot be fetched, or a file is not
            what it was.
    """
    # Only where there is such a source: it brings an HTTP client with it.
    prepare_library()
    from huggingface_hub import constants

    repository = _repository(wanted, Path(constants.HF_HUB_CACHE))
    path = origins.cache / "hub" / repository.key / f"{repository.revision}.json"
    record = read_record(path)
    listing = record.listing or _listing_of_others(repository)
    here = repository.present()
    known = record
    names = None if listing is None else choose_files(str(repository), listing, wanted)
    if names is None or not here.issuperset(names):
        if origins.hub.offline or constants.HF_HUB_OFFLINE:
            names = _offline(repository, wanted, names)
        else:
            download = _Download(repository, wanted, origins.hub, listener)
            names, listing = download.run(listing)
            known = record.without(download.fetched)
    facts = _check(repository, names, known)
    extended = known.extended(facts, listing)
    if extended != record:
        write_record(path, extended)
    return Snapshot(repository.snapshot, facts)


class _Download:
    """One download of what is missing.

    Attributes:
        fetched: The files that it has brought here, each with the hash that the hub announced.
    """

    def __init__(self, repository: Repository, wanted: Wanted, hub: Hub, listener: Listener) -> None:
        self._repository = repository
        self._wanted = wanted
        self._hub = hub
        self._listener = listener
        self.fetched: set[str] = set()

    def run(self, known: frozenset[str] | None) -> tuple[list[str], frozenset[str] | None]:
        """Bring everything that is wanted here; return what that is, and all that the repository has.

        Args:
            known: What the repository has, if that is known already.
        """
        try:
            connection = _connect(self._repository, self._hub)
            files = connection.listing()
        except ArtifactProblem as problem:
            if known is not None:
                raise
            return self._what_is_here(problem), None
        names = choose_files(str(self._repository), files, self._wanted)
        missing = [name for name in names if not self._repository.has(name)]
        remote = [files[name] or connection.look_up(name) for name in missing]
        self._check_space(remote)
        self._bring(connection, [file for file in remote if file.name == CONFIG])
        if WEIGHTS in names:  # which may be gigabytes that nothing can be built from
            config = read_json(self._repository.snapshot / CONFIG)
            check_buildable(str(self._repository), config, self._wanted)
        self._bring(connection, [file for file in remote if file.name != CONFIG])
        return names, frozenset(files)

    def _bring(self, connection: Connection, files: Collection[RemoteFile]) -> None:
        for file in files:
            connection.download(file, self._listener.transfer)
            self.fetched.add(file.name)

    def _what_is_here(self, problem: ArtifactProblem) -> list[str]:
        """Make do with what other programs have downloaded, if that is a whole model."""
        try:
            names = choose_files(str(self._repository), self._repository.present(), self._wanted)
        except ArtifactProblem:
            raise problem from None
        self._listener.note(f"using what was downloaded before of {self._repository}: {problem}")
        return names

    def _check_space(self, files: Collection[RemoteFile]) -> None:
        needed = sum(file.size - self._kept(file) for file in files)
        free = self._repository.free_bytes()
        if needed > free:
            message = (
                f"the disk is full: {self._repository} needs {_amount(needed)} in {self._repository.cache}, "
                f"and {_amount(free)} are free; make room there, or set HF_HUB_CACHE to a larger disk"
            )
            raise ArtifactProblem(message)

    def _kept(self, file: RemoteFile) -> int:
        sizes = (self._repository.blob(file.blob), self._repository.partial(file.blob))
        kept = 0
        for path in sizes:
            with suppress(OSError):  # it may not be there, or be put in its place just now by another process
                kept = max(kept, min(path.stat().st_size, file.size))
        return kept


def _repository(wanted: Wanted, cache: Path) -> Repository:
    # Imported here because a process without hf: sources must not pay for it.
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # exported, undeclared

    name = wanted.source.removeprefix("hf:")
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        message = f"{wanted.source} cannot be the name of a repository on the hub"
        raise ArtifactProblem(message) from error
    if wanted.revision is None or not COMMIT.fullmatch(wanted.revision):
        message = f"{wanted.source} needs a revision: a full commit hash, 40 hexadecimal digits"
        raise ArtifactProblem(message)
    return Repository(name, wanted.revision, cache)


def _listing_of_others(repository: Repository) -> frozenset[str] | None:
    """Return what the repository has, if the hub's own tools have noted that."""
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        tree = get_cached_repo_tree(repository.name, revision=repository.revision, cache_dir=repository.cache)
    except (CachedRepoTreeNotFoundError, OSError, *MALFORMED):  # none, or one that cannot be read
        return None
    return frozenset(file.path for file in tree if is_plain(file.path)) or None


def _connect(repository: Repository, hub: Hub) -> Connection:
    from huggingface_hub import constants

    try:
        token = resolve(hub.token).reveal() if hub.token else None
    except SecretUnavailable as error:
        message = f"hub.token: {error}"
        raise ArtifactProblem(message) from error
    token = _check_token(token or _login())
    endpoint = (hub.endpoint or constants.ENDPOINT).rstrip("/")
    try:
        host_of(endpoint)
    except ValueError as error:
        message = "the address of the hub cannot be read; check hub.endpoint and HF_ENDPOINT"
        raise ArtifactProblem(message) from error
    return Connection(Asked(repository, endpoint, hub.timeout_seconds, bool(token)), token)


def _login() -> str | None:
    """Return the token that the hub's own tools would send, if any."""
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        return None
    try:
        return get_token()
    except (OSError, ValueError) as error:
        message = "the login of the hub's own tools cannot be read; set hub.token, or log in again"
        raise ArtifactProblem(message) from error


def _check_token(token: str | None) -> str | None:
    """Refuse what cannot be sent, before anybody's error message repeats it."""
    if token and not TOKEN.fullmatch(token):
        message = (
            "the token holds characters that no token has; check hub.token, HF_TOKEN or the login of the "
            "hub's own tools"
        )
        raise ArtifactProblem(message)
    return token or None


def _offline(repository: Repository, wanted: Wanted, names: list[str] | None) -> list[str]:
    """Return what is wanted if it is here as far as one can tell without the hub."""
    problem = f"nothing of {repository} is here"
    here = repository.present()
    if names is not None and here:
        missing = [name for name in names if name not in here]
        problem = f"{repository} is not complete: {', '.join(missing)} is missing"
    elif here:
        try:
            return choose_files(str(repository), here, wanted)
        except ArtifactProblem as error:
            problem = f"{error}, as far as it was downloaded"
    message = (
        f"{problem}, and the hub may not be asked (hub.offline or HF_HUB_OFFLINE); run `inglenook models "
        f"download` where it can be reached, and bring its cache to {repository.cache}"
    )
    raise ArtifactProblem(message)


def _check(repository: Repository, names: Collection[str], record: Record) -> dict[str, FileFacts]:
    """Return what the files are, which is what the hub and the record say."""
    facts = {}
    for name in names:
        blob = repository.blob_of(name)
        try:
            found, hashed = hash_file(repository.snapshot / name, blob)
        except OSError as error:
            message = f"{name} of {repository} cannot be read: {error.strerror}"
            raise ArtifactProblem(message) from error
        recorded = record.files.get(name, found)
        if found != recorded or (blob is not None and hashed != blob):
            is_now, was = (found.sha256, recorded.sha256) if found != recorded else (hashed, blob)
            message = (
                f"{name} of {repository} has changed since it was downloaded: its hash is {is_now}, and it "
                f"was {was}; delete {repository.folder} and run `inglenook models download`"
            )
            raise ArtifactProblem(message)
        facts[name] = found
    return facts


def _amount(count: int) -> str:
    return f"{count / MEGABYTE:,.0f} MB" if count >= MEGABYTE else f"{count:,} bytes"
