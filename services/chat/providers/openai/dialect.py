"""Chat Completions as a dialect."""

from __future__ import annotations

from typing import Final

from services.chat.providers.composer import Composer
from services.chat.providers.dialect import Ask, Outgoing
from services.chat.providers.errors import ErrorResponse
from services.chat.providers.failure import Failure
from services.chat.providers.framing import ServerSentEvents
from services.chat.providers.openai.decode import ChatReading
from services.chat.providers.openai.encode import encode
from services.chat.providers.openai.errors import response_failure
from services.chat.providers.openai.sheets import Sheet

CHAT_PATH: Final = "/chat/completions"


class OpenAiDialect:
    """The language of one service: Chat Completions with its peculiarities."""

    def __init__(self, sheet: Sheet) -> None:
        self._sheet = sheet

    def encode(self, ask: Ask) -> Outgoing:
        """Return the request that asks for an answer, streamed where the service can."""
        return Outgoing(self._sheet.version_path + CHAT_PATH, encode(ask, self._sheet))

    def framing(self) -> ServerSentEvents:
        """Return what cuts a streamed answer into frames."""
        return ServerSentEvents()

    def reading(self, ask: Ask, composer: Composer) -> ChatReading:
        """Return what reads an answer into `composer`."""
        del ask
        return ChatReading(composer, self._sheet)

    def failure(self, response: ErrorResponse) -> Failure:
        """Return what a response that is no answer means."""
        return response_failure(response, self._sheet)
