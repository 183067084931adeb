"""Puts another configuration in force while a process runs: parse, validate, build, swap.

All or nothing: a file that is missing, broken, or that the application cannot follow changes nothing, and
the status says why. Calls in flight keep what they began with; that is the application's part
(`process.Application.reload`). A file whose content is in force already is put in force again only for people
who ask: the secrets that it refers to may be others now.

Whoever asks while the file is being read gets a reading of their own, for it may have changed since; all who
ask meanwhile share that one. So at any time one configuration is being put in force, and at most one waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from services.chassis.errors import CallError, Reason
from services.config import ConfigurationFile, ConfigurationInvalid, Problem, load
from services.config.sections.base import Section

MOST_ERROR_CHARACTERS: Final = 2_000
MOST_NAMES: Final = 50

STOPPING: Final = "the process is stopping and changes nothing any more"

UNREAD: Final = datetime.fromtimestamp(0, UTC)

log: Final = logging.getLogger(__name__)

Read = Callable[[], ConfigurationFile]
"""Reads and validates the file, in a worker thread."""

Apply = Callable[[ConfigurationFile], Awaitable[Sequence[str]]]
"""Puts a configuration in force, or raises and leaves all as it is. Returns its settings that hold only
after a restart, dotted."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a process has its configuration from.

    Attributes:
        path: The file as the process was told of it, absolute. Links are not followed: they may be what
            changes.
        read: Reads it again.
        adopt: Has the process itself follow what the application has put in force, as far as it can while it
            runs. Returns its settings that hold only after a restart, dotted. Must not raise.
    """

    path: Path
    read: Read
    adopt: Callable[[ConfigurationFile], Iterable[str]] = lambda _: ()

    @classmethod
    def of(cls, file: ConfigurationFile) -> Source:
        """Return a source that reads `file` again from where it came from."""
        return cls(file.path, partial(load, file.path))


@dataclass(frozen=True, slots=True)
class ReloadStatus:
    """The configuration in force, and what became of the last attempt to change it.

    Attributes:
        path: Where it was read from.
        sha256: SHA-256 of the file, lowercase hex.
        loaded_at: When it was read, in UTC.
        last_error: Why the last reload changed nothing, or what of it could not be carried out; without
            values from the file. Empty when all is as the file says.
        restart_needed: Settings that the file has changed and that hold only after a restart, dotted.
    """

    path: str = ""
    sha256: str = ""
    loaded_at: datetime = UNREAD
    last_error: str = ""
    restart_needed: tuple[str, ...] = ()


class StatusMessage(Protocol):
    """The contract's `ConfigStatus`, whose fields are those of `ReloadStatus`."""

    path: str
    sha256: str
    last_error: str

    @property
    def loaded_at(self) -> Timestamp:
        """When it was read."""

    @property
    def restart_needed(self) -> Any:
        """Settings that need a restart."""


W = TypeVar("W", bound=StatusMessage)


def written(status: ReloadStatus, message: W) -> W:
    """Return `message`, a `ConfigStatus`, with what a status says."""
    message.path, message.sha256, message.last_error = status.path, status.sha256, status.last_error
    message.loaded_at.FromDatetime(status.loaded_at)
    message.restart_needed.extend(status.restart_needed)
    return message


class ReloadRefused(CallError):
    """The file could not be put in force; everything is as it was."""

    reason = Reason.CONFIG_INVALID


class Reloader:
    """Reads the configuration of one process again, and has it put in force. Belongs to one event loop.

    Args:
        observe: Told how each reload ended: `changed`, `unchanged` or `refused`. A look at a file that is in
            force already is no reload, unless somebody asked for it.

    Attributes:
        trouble: Returns what of the configuration in force could not be carried out, in words; the
            application may set it.
        source: Where the file is; set by `begin` unless the process has said so before.
    """

    def __init__(
        self, source: Source | None = None, observe: Callable[[str], object] = lambda _: None
    ) -> None:
        self.source = source
        self.trouble: Callable[[], str] = str
        self._observe = observe
        self._apply: Apply | None = None
        self._file: ConfigurationFile | None = None
        self._error = ""
        self._again = False
        self._restart_needed: tuple[str, ...] = ()
        self._running: asyncio.Task[_Outcome] | None = None
        self._waiting: asyncio.Task[_Outcome] | None = None
        self._closed = False

    def begin(self, file: ConfigurationFile, apply: Apply) -> None:
        """Take note of the configuration that the application was built with, and of what changes it."""
        self._file, self._apply = file, apply
        self.source = self.source or Source.of(file)

    @property
    def status(self) -> ReloadStatus:
        """How things stand now."""
        if self._file is None:
            return ReloadStatus(last_error=self._error)
        return ReloadStatus(
            path=str(self.source.path if self.source else self._file.path),
            sha256=self._file.sha256,
            loaded_at=self._file.loaded_at,
            last_error=_shortened(self._error or self.trouble()),
            restart_needed=self._restart_needed,
        )

    async def reload(self, *, again: bool = True) -> bool:
        """Read the file now and put it in force; return whether its content was another.

        A caller who leaves does not stop it.

        Args:
            again: Put it in force even if its content is in force: secrets may have been replaced.

        Raises:
            ReloadRefused: It could not be; one violation per problem.
        """
        if self._closed:
            raise ReloadRefused(STOPPING)
        self._again = self._again or again
        if self._waiting is None:
            self._waiting = asyncio.create_task(self._in_turn(self._running), name="reload")
        waiting = self._waiting
        await asyncio.wait({waiting})
        if waiting.cancelled():
            raise ReloadRefused(STOPPING)
        outcome = waiting.result()
        if outcome.refusal is not None:
            raise outcome.refusal
        return outcome.changed

    async def follow(self, *, again: bool = False) -> None:
        """Reload, for those who only want it done: how it went, the log and the status say."""
        with suppress(ReloadRefused):
            await self.reload(again=again)

    async def close(self) -> None:
        """Begin no more reloads, and wait until none is under way."""
        self._closed = True
        tasks = [task for task in (self._running, self._waiting) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _in_turn(self, before: asyncio.Task[_Outcome] | None) -> _Outcome:
        if before is not None:
            await asyncio.wait({before})
        self._running, self._waiting = self._waiting, None
        again, self._again = self._again, False
        outcome = await self._reload(again=again)
        if outcome.refusal is not None:
            self._error = str(outcome.refusal)
            log.error("the configuration stays as it was", extra={"problem": self._error})
        if not outcome.idle:
            self._observe(
                "refused" if outcome.refusal is not None else "changed" if outcome.changed else "unchanged"
            )
        return outcome

    async def _reload(self, *, again: bool) -> _Outcome:
        if self.source is None or self._apply is None or self._file is None:
            return _Outcome(refusal=ReloadRefused("there is no configuration file to read again"))
        try:
            file = await asyncio.to_thread(self.source.read)
            same = file.sha256 == self._file.sha256
            if same and not again:
                idle, self._error = not self._error, ""
                return _Outcome(idle=idle)
            restart_needed = [*await self._apply(file), *self.source.adopt(file)]
        except ConfigurationInvalid as error:
            return _Outcome(refusal=refused(error.problems))
        except Exception as error:
            log.exception("a configuration could not be put in force")
            kind = type(error).__name__
            return _Outcome(
                refusal=ReloadRefused(f"the file is valid, but not in force: {kind}; see the log")
            )
        self._file, self._error = file, ""
        self._restart_needed = tuple(dict.fromkeys(restart_needed))
        log.info(
            "configuration read again, nothing changed" if same else "configuration in force",
            extra={"sha256": file.sha256, "restart_needed": list(self._restart_needed)},
        )
        return _Outcome(changed=not same)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How a reload ended: something changed, nothing had to, or it was refused.

    `idle` if it was none: all was as the file says, and nobody had asked.
    """

    changed: bool = False
    refusal: ReloadRefused | None = None
    idle: bool = False


def refused(problems: Sequence[Problem]) -> ReloadRefused:
    """Return the refusal of a file with problems: each as a violation, and all of them as text."""
    told = "; ".join(str(problem) for problem in problems[:MOST_NAMES])
    violations = [(problem.path, _without_path(problem)) for problem in problems]
    return ReloadRefused(f"the file has problems and changes nothing: {told}", violations=violations)


def different(before: Section, after: Section) -> list[str]:
    """Return the names of the settings that differ between two versions of a table, in their order."""
    names = type(before).model_fields
    return [name for name in names if getattr(before, name) != getattr(after, name)]


def _without_path(problem: Problem) -> str:
    return f"{problem.message} ({problem.hint})" if problem.hint else problem.message


def _shortened(text: str) -> str:
    return text if len(text) <= MOST_ERROR_CHARACTERS else text[: MOST_ERROR_CHARACTERS - 1] + "…"
