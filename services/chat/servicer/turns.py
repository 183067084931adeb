"""The turns of a conversation: from the wire to the domain."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from inglenook.chat.v1 import Image as WireImage
from inglenook.chat.v1 import Message as WireMessage
from inglenook.chat.v1 import Part as WirePart
from inglenook.chat.v1 import Role as WireRole

from services.chat.conversation import (
    Image,
    Message,
    Part,
    Reasoning,
    Role,
    Signature,
    Text,
    ToolCall,
    ToolResult,
)
from services.chat.servicer.violations import Violations

MAX_IMAGE_BYTES: Final = 20 * 1024 * 1024

ROLES: Final[Mapping[int, Role]] = {
    WireRole.ROLE_SYSTEM: "system",
    WireRole.ROLE_USER: "user",
    WireRole.ROLE_ASSISTANT: "assistant",
    WireRole.ROLE_TOOL: "tool",
}
ALLOWED: Final[Mapping[Role, tuple[str, ...]]] = {
    "system": ("text",),
    "user": ("text", "image"),
    "assistant": ("text", "reasoning", "tool_call"),
    "tool": ("tool_result",),
}


class TurnReader:
    """Reads turns in order, and remembers which tool calls were made."""

    def __init__(self, violations: Violations) -> None:
        self._violations = violations
        self._called: dict[str, str] = {}

    def read(self, messages: Iterable[WireMessage]) -> tuple[Message, ...]:
        """Return the turns; what is wrong with them is noted."""
        read = [self._message(f"messages[{index}]", one) for index, one in enumerate(messages)]
        said = tuple(message for message in read if message is not None and message.parts)
        if not said and None not in read:
            self._violations.add("messages", "must not be empty")
        return said

    def _message(self, path: str, message: WireMessage) -> Message | None:
        role = ROLES.get(message.role)
        if role is None:
            self._violations.add(f"{path}.role", "must be system, user, assistant or tool")
            return None
        if not message.parts and role != "assistant":  # a model may have had nothing to say
            self._violations.add(f"{path}.parts", "must not be empty")
        parts = [self._part(f"{path}.parts[{index}]", role, part) for index, part in enumerate(message.parts)]
        return Message(role, tuple(part for part in parts if part is not None))

    def _part(self, path: str, role: Role, part: WirePart) -> Part | None:
        kind = part.WhichOneof("kind") or ""
        if kind not in ALLOWED[role]:
            allowed = " or ".join(ALLOWED[role])
            self._violations.add(f"{path}.{kind}".rstrip("."), f"must be {allowed} in a turn of the {role}")
            return None
        signature = None
        if part.HasField("signature"):
            signature = Signature(part.signature.provider, part.signature.data)
        read: Mapping[str, Callable[[], Part | None]] = {
            "text": lambda: self._text(path, role, part.text, signature),
            "reasoning": lambda: Reasoning(part.reasoning.text, signature),
            "image": lambda: self._image(f"{path}.image", part.image),
            "tool_call": lambda: self._tool_call(f"{path}.tool_call", part, signature),
            "tool_result": lambda: self._tool_result(f"{path}.tool_result", part),
        }
        return read[kind]()

    def _text(self, path: str, role: Role, text: str, signature: Signature | None) -> Text | None:
        if text.strip() or signature is not None:
            return Text(text, signature)
        if role != "assistant":
            self._violations.add(f"{path}.text", "must not be empty or white space only")
        return None  # models do answer with nothing besides their tool calls

    def _image(self, path: str, image: WireImage) -> Image:
        source = image.WhichOneof("source")
        if source is None or not (image.data or image.url):
            self._violations.add(path, "must have data or a url")
        elif source == "url" and not image.url.startswith(("http://", "https://")):
            self._violations.add(f"{path}.url", "must begin with http:// or https://; send files as data")
        elif source == "data" and len(image.data) > MAX_IMAGE_BYTES:
            self._violations.add(f"{path}.data", f"has more than {MAX_IMAGE_BYTES} bytes")
        elif source == "data" and not image.media_type.startswith("image/"):
            self._violations.add(f"{path}.media_type", "must be that of the data, for example image/png")
        return Image(image.media_type, data=image.data, url=image.url)

    def _tool_call(self, path: str, part: WirePart, signature: Signature | None) -> ToolCall:
        call = part.tool_call
        if not call.id or call.id in self._called:
            self._violations.add(f"{path}.id", "must be set, and differ from those of other calls")
        self._violations.check_name(f"{path}.name", call.name)
        self._violations.json_object(f"{path}.arguments", call.arguments)
        self._called[call.id] = call.name
        return ToolCall(call.id, call.name, call.arguments, signature)

    def _tool_result(self, path: str, part: WirePart) -> ToolResult:
        result = part.tool_result
        if result.tool_call_id not in self._called:
            self._violations.add(f"{path}.tool_call_id", "must be the id of a tool call in a turn before")
        name = self._called.get(result.tool_call_id, "")
        return ToolResult(result.tool_call_id, name, result.content, result.is_error)
