"""`inglenook models`: what the cluster can run. `list` is here, the others have modules of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated

import typer
from inglenook.common.v1 import Capability, ModelInfo, TargetInfo, TargetState
from inglenook.model.v1 import ListModelsRequest, ListModelsResponse, ModelServiceStub
from rich.markup import escape
from rich.table import Table

from services.cli.commands.download import download
from services.cli.commands.info import info
from services.cli.commands.load import load, unload
from services.cli.console import Output, as_dict, table
from services.cli.session import TIMEOUT_SECONDS, AsJson, RouterAddress, Timeout, calling
from services.cli.words import (
    capability_word,
    colored_state,
    colored_target_state,
    mebibytes,
    precision_word,
)

models = typer.Typer(help="What the cluster can run.", no_args_is_help=True)


class CapabilityName(StrEnum):
    """What can be asked of a model."""

    CHAT = "chat"
    EMBED = "embed"
    RERANK = "rerank"
    NLI = "nli"


CapabilityOption = Annotated[
    CapabilityName | None, typer.Option("--capability", help="Only models that can do this.")
]


@models.command("list")
def list_models(
    capability: CapabilityOption = None,
    router: RouterAddress = None,
    timeout: Timeout = TIMEOUT_SECONDS,
    as_json: AsJson = False,
) -> None:
    """List the models and how each of them is, with the targets of those that providers run."""
    output = Output(as_json=as_json)
    wanted = Capability.Value(f"CAPABILITY_{capability.name if capability else 'UNSPECIFIED'}")
    with calling(output, router, timeout, "asking for models") as client:
        stub = ModelServiceStub(client.channel)
        answer = client.call(stub.ListModels, ListModelsRequest(capability=wanted))
    listed: ListModelsResponse = answer.message
    output.json(as_dict(listed))
    output.show(_listed(listed.models) if listed.models else "no models")


models.command("info")(info)
models.command("download")(download)
models.command("load")(load)
models.command("unload")(unload)


def _listed(infos: Iterable[ModelInfo]) -> Table:
    made = table(
        "MODEL", "CAPABILITY", "STATE", ">DIMENSIONS", ">MAX TOKENS", "PRECISION", ">MEMORY", "SOURCE"
    )
    for one in infos:
        targets = _remarkable(one)
        made.add_row(
            one.name,
            capability_word(one.capability),
            colored_state(one.state),
            str(one.dimensions or ""),
            str(one.max_input_tokens or ""),
            precision_word(one.precision),
            mebibytes(one.memory_bytes),
            "" if targets else escape(one.source or ", ".join(one.targets)),
        )
        for target in targets:
            made.add_row("", "", colored_target_state(target.state), *[""] * 4, _target(target))
        if one.state_detail and not targets:
            made.add_row("", "", f"[dim]{escape(one.state_detail)}[/]")
    return made


def _remarkable(model: ModelInfo) -> Sequence[TargetInfo]:
    """Return the targets that have lines of their own: all, unless there is but one and that is fine."""
    infos = model.target_infos
    alone_and_fine = [target.state for target in infos] == [TargetState.TARGET_STATE_HEALTHY]
    return () if alone_and_fine else infos


def _target(target: TargetInfo) -> str:
    name = escape(f"{target.provider}/{target.upstream_model}")
    return f"{name}  [dim]{escape(target.state_detail)}[/]" if target.state_detail else name
