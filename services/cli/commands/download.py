"""`inglenook models download`: fetch what the file names from the hub, here and now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn
from rich.table import Table

from services.artifacts import ArtifactProblem, Origins, Wanted
from services.artifacts.hub import Snapshot, fetch
from services.artifacts.hub_client import Transfer
from services.cli.console import Output, table
from services.cli.session import AsJson, ConfigPath, read_configuration
from services.config import LocalModel, Model, environment

HUB = "hf:"
MEGABYTE = 1_000_000
REVISION_DIGITS = 12

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME]...", help="Models; without names, all that come from the hub."),
]


@dataclass(frozen=True, slots=True)
class Need:
    """What a model needs from somewhere.

    Attributes:
        model: Name of the model.
        wanted: Which files.
    """

    model: str
    wanted: Wanted

    @property
    def from_hub(self) -> bool:
        """Whether it has to be downloaded."""
        return self.wanted.source.startswith(HUB)

    @property
    def kind(self) -> str:
        """What it is for the model."""
        return "adapter" if self.wanted.adapter else "model"


def download(names: Names = None, config: ConfigPath = None, as_json: AsJson = False) -> None:
    """Download models and adapters from the hub to this machine, and check their hashes.

    No service has to run. What is here already is checked and not downloaded again; what was interrupted is
    continued.
    """
    output = Output(as_json=as_json)
    file = read_configuration(output, config)
    models = file.configuration.models
    unknown = [name for name in names or () if name not in models]
    if unknown:
        has = f"it has {', '.join(models)}" if models else "it has none"
        output.fail(f"{file.path} has no model {', '.join(unknown)}; {has}", unknown=unknown)
    chosen = {name: models[name] for name in names} if names else models
    with_files = {name: model for name, model in chosen.items() if isinstance(model, Model)}
    for name in names or ():
        if name not in with_files:
            output.note(f"{escape(name)} has no files here: providers run it")
    needs = _needs(with_files)
    if not names:
        needs = [need for need in needs if need.from_hub]
    origins = Origins(file.path.parent, environment.cache_directory(), file.configuration.hub)
    fetched, problems = _fetch_all(output, [need for need in needs if need.from_hub], origins)
    told = [_as_json(need, fetched.get(need), problems.get(need)) for need in needs]
    nothing = "nothing to download" if names else f"no model of {file.path} comes from the hub"
    output.show(_listed(needs, fetched, problems) if needs else nothing)
    if problems:
        output.fail("; ".join(f"{need.model}: {problem}" for need, problem in problems.items()), models=told)
    output.json({"models": told})


def _needs(models: Mapping[str, LocalModel]) -> list[Need]:
    needs = []
    for name, model in models.items():
        built = model.build or model.adapter is not None
        needs.append(Need(name, Wanted(model.source, model.revision, model.onnx_file, build=built)))
        if model.adapter is not None:
            needs.append(Need(name, Wanted(model.adapter, model.adapter_revision, adapter=True)))
    return needs


def _fetch_all(
    output: Output, needs: Sequence[Need], origins: Origins
) -> tuple[dict[Need, Snapshot], dict[Need, str]]:
    """Fetch one after the other; what fails keeps nothing else from being fetched."""
    fetched, problems = {}, {}
    with _bars(output) as bars:
        for need in needs:
            bars.begin(need)
            try:
                fetched[need] = fetch(need.wanted, origins, bars)
            except ArtifactProblem as problem:
                problems[need] = str(problem)
    return fetched, problems


class Bars:
    """A progress bar per file that is being downloaded.

    Args:
        progress: Draws them.
        output: Is told everything else.
    """

    def __init__(self, progress: Progress, output: Output) -> None:
        self._progress = progress
        self._output = output
        self._tasks: dict[str, TaskID] = {}
        self._model = ""

    def begin(self, need: Need) -> None:
        """Name the model that the next files belong to."""
        self._model = need.model
        self._tasks.clear()

    def note(self, sentence: str) -> None:
        """Write an aside, above the bars."""
        if self._progress.disable:
            self._output.note(escape(sentence))
        else:
            self._progress.console.print(escape(sentence))

    def transfer(self, transfer: Transfer) -> None:
        """Move the bar of a file."""
        if transfer.name not in self._tasks:
            words = escape(f"{self._model}  {transfer.name}")
            self._tasks[transfer.name] = self._progress.add_task(words, total=transfer.size)
        self._progress.update(self._tasks[transfer.name], completed=transfer.received)


@contextmanager
def _bars(output: Output) -> Iterator[Bars]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    silent = output.as_json or not console.is_terminal
    with Progress(*columns, console=console, disable=silent, transient=True) as progress:
        yield Bars(progress, output)


def _listed(needs: Sequence[Need], fetched: Mapping[Need, Snapshot], problems: Mapping[Need, str]) -> Table:
    made = table("MODEL", "SOURCE", "REVISION", ">SIZE", "SHA256", "FOLDER")
    for need in needs:
        name = f"{need.model} (adapter)" if need.wanted.adapter else need.model
        first = (escape(name), escape(need.wanted.source), (need.wanted.revision or "")[:REVISION_DIGITS])
        if need in fetched:
            snapshot = fetched[need]
            size = f"{_size(snapshot) / MEGABYTE:,.1f} MB"
            made.add_row(*first, size, "[green]checked[/]", escape(str(snapshot.folder)))
        elif need in problems:
            made.add_row(*first, "", "", "[red]failed[/]")
        else:
            made.add_row(*first, "", "", "[dim]needs no download[/]")
    return made


def _as_json(need: Need, snapshot: Snapshot | None, problem: str | None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "model": need.model,
        "kind": need.kind,
        "source": need.wanted.source,
        "revision": need.wanted.revision,
        "state": "failed" if problem else "checked" if snapshot else "needs no download",
    }
    if problem:
        told["problem"] = problem
    if snapshot:
        files = {name: {"sha256": one.sha256, "bytes": one.size} for name, one in snapshot.files.items()}
        told |= {"folder": str(snapshot.folder), "bytes": _size(snapshot), "files": files}
    return told


def _size(snapshot: Snapshot) -> int:
    return sum(one.size for one in snapshot.files.values())
