"""Ollama's language, put together."""

from __future__ import annotations

from dataclasses import dataclass

from services.chat.providers.composer import Composer
from services.chat.providers.dialect import Ask, Outgoing
from services.chat.providers.errors import ErrorResponse
from services.chat.providers.failure import Failure
from services.chat.providers.framing import JsonLines
from services.chat.providers.ollama.decode import OllamaReading
from services.chat.providers.ollama.encode import KeepAlive, chat_body
from services.chat.providers.ollama.errors import response_failure

CHAT = "/api/chat"


@dataclass(frozen=True, slots=True)
class OllamaDialect:
    """The language of `/api/chat`.

    Attributes:
        keep_alive: How long a model stays in memory after a call; None leaves it to the Ollama.
        pull: The model to pull when the Ollama says that it has no such model; empty if there is none to
            name, or pulling is not for whoever reads the message to do.
    """

    keep_alive: KeepAlive | None = None
    pull: str = ""

    def encode(self, ask: Ask) -> Outgoing:
        """Return the request that asks for a streamed answer.

        Raises:
            Failure: NOT_SUPPORTED: Ollama has no way to ask for this, or the model is known not to think.
        """
        return Outgoing(CHAT, chat_body(ask, self.keep_alive))

    def framing(self) -> JsonLines:
        """Return what cuts a streamed answer into lines."""
        return JsonLines()

    def reading(self, ask: Ask, composer: Composer) -> OllamaReading:
        """Return what reads the answer into `composer`."""
        del ask
        return OllamaReading(composer)

    def failure(self, response: ErrorResponse) -> Failure:
        """Return what a response that is no answer means."""
        return response_failure(response, pull=self.pull)
