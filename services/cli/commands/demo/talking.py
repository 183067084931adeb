"""The demo's chat: with whoever can be asked, else one line about what is missing.

Language models are no part of the cluster: that nobody runs one, or that it is slow, is told and no failure.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

from inglenook.chat.v1 import ChatRequest, ReasoningOptions, Role
from inglenook.common.v1 import Capability, ModelInfo, ModelState
from inglenook.model.v1 import ListModelsRequest, ModelServiceStub
from rich.markup import escape

from services.cli.client import CallFailed, Client
from services.cli.commands.demo.advice import is_theirs, what_failed, what_is_missing
from services.cli.commands.demo.telling import head
from services.cli.commands.demo.texts import QUESTION
from services.cli.console import Output, as_dict
from services.cli.dialogue import Dialogue, Reply, StreamingClient, Writer, summary, text_message
from services.config import Configuration

LONGEST: Final = 200
"""Most tokens of the answer: a slow model has written them in time."""


def chat(output: Output, client: Client, configuration: Configuration) -> dict[str, Any]:
    """Ask a chat model and show the answer while it comes; return the same for programs.

    Raises:
        CallFailed: The cluster failed.
    """
    with output.progress("looking for a chat model"):
        wanted = ListModelsRequest(capability=Capability.CAPABILITY_CHAT)
        models = client.call(ModelServiceStub(client.channel).ListModels, wanted).message.models
    model = choose(models)
    if model is None:
        problem = what_is_missing(configuration, models)
        output.show("", f"[bold]chat[/]  {escape(problem)}")
        return {"problem": problem, "models": [as_dict(one) for one in models]}
    head(output, "chat", f"a model answers: {QUESTION}")
    request = question(model)
    try:
        reply = _ask(output, client, request)
    except CallFailed as error:
        if not is_theirs(error):
            raise
        problem = what_failed(error, client.timeout_seconds)
        output.show(escape(problem))
        return {"problem": problem, "reason": error.reason, "request": as_dict(request)}
    output.show("", summary(reply))
    return {
        "request": as_dict(request),
        "start": as_dict(reply.start),
        "message": as_dict(reply.message),
        "finish": as_dict(reply.finish),
    }


def choose(models: Sequence[ModelInfo]) -> ModelInfo | None:
    """Return the first model that can be called: those of the file come first, then what providers have.

    Of the latter only what costs nothing: nobody has asked for it.
    """
    for model in models:
        discovered = list(model.targets) == [model.name]
        paid = any(target.paid for target in model.target_infos)
        if model.state == ModelState.MODEL_STATE_READY and not (discovered and paid):
            return model
    return None


def question(model: ModelInfo) -> ChatRequest:
    """Return what is asked. A model at home that could think is told not to: it would be all that is seen."""
    thinks = any(target.reasoning and not target.paid for target in model.target_infos)
    effort = ReasoningOptions.EFFORT_NONE if thinks else ReasoningOptions.EFFORT_UNSPECIFIED
    return ChatRequest(
        model=model.name,
        messages=[text_message(Role.ROLE_USER, QUESTION)],
        reasoning=ReasoningOptions(effort=effort),
        max_output_tokens=LONGEST,
    )


def _ask(output: Output, client: Client, request: ChatRequest) -> Reply:
    streaming = StreamingClient(client.channel, client.address, client.timeout_seconds)
    beginning = ChatRequest()
    beginning.CopyFrom(request)
    del beginning.messages[:]
    writer = Writer(sys.stdout, sys.stderr, silent=output.as_json)
    return Dialogue(streaming, beginning, writer).say(*request.messages)
