"""`inglenook models load` and `unload`: models into memory, and out of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from google.protobuf.message import Message
from inglenook.common.v1 import ModelInfo
from inglenook.model.v1 import GetModelRequest, LoadModelRequest, ModelServiceStub, UnloadModelRequest

from services.cli.client import CallFailed, Client
from services.cli.console import Output, as_dict
from services.cli.session import (
    TIMEOUT_SECONDS,
    AsJson,
    RouterAddress,
    Timeout,
    fail_with,
    reaching,
)
from services.cli.words import colored_state, mebibytes, span, state_word

LOAD_SECONDS = 3600.0
"""A large model may have to be fetched first."""

Names = Annotated[list[str], typer.Argument(help="Names of the models.", show_default=False)]


@dataclass(frozen=True, slots=True)
class Change:
    """What is done to models.

    Attributes:
        doing: The word for it while it lasts.
        method: The method of `ModelService`.
        request: Makes its request from a model's name.
    """

    doing: str
    method: str
    request: Callable[[str], Message]


LOAD = Change("loading", "LoadModel", lambda name: LoadModelRequest(model=name))
UNLOAD = Change("unloading", "UnloadModel", lambda name: UnloadModelRequest(model=name))


def load(
    names: Names,
    router: RouterAddress = None,
    timeout: Timeout = LOAD_SECONDS,
    as_json: AsJson = False,
) -> None:
    """Load models, one after the other, and return once they answer calls.

    There is nothing to do for a model that providers run.

    The first that fails ends the command; those before it stay loaded.
    """
    output = Output(as_json=as_json)
    with reaching(output, router, timeout) as client:
        _change_each(output, client, LOAD, names)


def unload(
    names: Names,
    router: RouterAddress = None,
    timeout: Timeout = TIMEOUT_SECONDS,
    as_json: AsJson = False,
) -> None:
    """Take models out of memory, one after the other, once the calls they accepted have finished.

    The first that fails ends the command; those before it stay unloaded.
    """
    output = Output(as_json=as_json)
    with reaching(output, router, timeout) as client:
        _change_each(output, client, UNLOAD, names)


def _change_each(output: Output, client: Client, change: Change, names: Sequence[str]) -> None:
    """Change each model, and say so at once; a program gets all of it at the end."""
    documents: list[dict[str, Any]] = []
    for name in names:
        began = time.perf_counter()
        try:
            with output.progress(f"{change.doing} {name}"):
                before, after = _change(client, change, name)
        except CallFailed as error:
            fail_with(output, error, model=name, models=documents)
        seconds = time.perf_counter() - began
        documents.append({**as_dict(after), "stateBefore": as_dict(before)["state"], "seconds": seconds})
        output.show(_told(before, after, seconds))
    output.json({"models": documents})


def _change(client: Client, change: Change, name: str) -> tuple[ModelInfo, ModelInfo]:
    """Return what is known of a model before and after it was changed.

    A model that providers run is left as it is: its memory is theirs.
    """
    stub = ModelServiceStub(client.channel)
    before: ModelInfo = client.call(stub.GetModel, GetModelRequest(model=name)).message.model
    if before.targets:
        return before, before
    after: ModelInfo = client.call(getattr(stub, change.method), change.request(name)).message.model
    return before, after


def _told(before: ModelInfo, after: ModelInfo, seconds: float) -> str:
    """Return one line: `minilm is ready (was available), after 3.1 s, 88 MiB`."""
    if after.targets:
        return f"{after.name} is left as it is: providers run it"
    was = state_word(before.state)
    earlier = "as before" if before.state == after.state else f"was {was}"
    memory = mebibytes(after.memory_bytes)
    size = f", {memory}" if memory else ""
    return f"{after.name} is {colored_state(after.state)} ({earlier}), after {span(seconds)}{size}"
