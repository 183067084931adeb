"""The dialect of Anthropic's Messages API."""

from __future__ import annotations

from typing import Final

from services.chat.providers.anthropic import errors
from services.chat.providers.anthropic.decode import AnthropicReading
from services.chat.providers.anthropic.encode import body
from services.chat.providers.composer import Composer
from services.chat.providers.dialect import Ask, Outgoing
from services.chat.providers.errors import ErrorResponse
from services.chat.providers.failure import Failure
from services.chat.providers.framing import ServerSentEvents

PATH: Final = "/v1/messages"


class AnthropicDialect:
    """Requests of `encode`, answers of `decode`, errors of `errors`."""

    def encode(self, ask: Ask) -> Outgoing:
        """Return the request that asks for a streamed answer."""
        return Outgoing(PATH, body(ask))

    def framing(self) -> ServerSentEvents:
        """Return what cuts a streamed answer into events."""
        return ServerSentEvents()

    def reading(self, ask: Ask, composer: Composer) -> AnthropicReading:
        """Return what reads an answer into `composer`."""
        del ask
        return AnthropicReading(composer)

    def failure(self, response: ErrorResponse) -> Failure:
        """Return what a response that is no answer means."""
        return errors.failure(response)
