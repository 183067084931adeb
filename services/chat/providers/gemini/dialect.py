"""The dialect of Google's Gemini API."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from services.chat.providers.composer import Composer
from services.chat.providers.dialect import Ask, Outgoing
from services.chat.providers.errors import ErrorResponse
from services.chat.providers.failure import Failure
from services.chat.providers.framing import ServerSentEvents
from services.chat.providers.gemini import errors
from services.chat.providers.gemini.decode import GeminiReading
from services.chat.providers.gemini.encode import body

COLLECTION: Final = "models/"
"""Begins the names of models in the API's own lists; callers may leave it out."""
PATH: Final = "/v1beta/models/{model}:streamGenerateContent?alt=sse"
"""Without `alt=sse` the answer is one JSON array."""


class GeminiDialect:
    """Requests of `encode`, answers of `decode`, errors of `errors`."""

    def encode(self, ask: Ask) -> Outgoing:
        """Return the request that asks for a streamed answer.

        Raises:
            Failure: NOT_SUPPORTED: it cannot be asked for this.
        """
        model = quote(ask.upstream_model.removeprefix(COLLECTION), safe="")
        return Outgoing(PATH.format(model=model), body(ask))

    def framing(self) -> ServerSentEvents:
        """Return what cuts a streamed answer into events."""
        return ServerSentEvents()

    def reading(self, ask: Ask, composer: Composer) -> GeminiReading:
        """Return what reads an answer into `composer`."""
        del ask
        return GeminiReading(composer)

    def failure(self, response: ErrorResponse) -> Failure:
        """Return what a response that is no answer means."""
        return errors.failure(response)
