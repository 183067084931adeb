"""What all sections have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    Strict,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
)

Capability = Literal["chat", "embed", "rerank", "nli"]
"""What can be asked of a model."""

Name = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$"),
    WithJsonSchema({"type": "string", "format": "name"}),
]
"""Name of a model or backend: letters, digits and `. _ : / -`, at most 128 characters."""

Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
"""A duration in seconds, 0 to a day."""


BASE: Final = "base"
"""What the context of validation calls the folder of the configuration file."""


def _from_the_file(path: Path, info: ValidationInfo) -> Path:
    base = (info.context or {}).get(BASE, Path())
    return Path(base) / path.expanduser()


FilePath = Annotated[
    Path,
    Strict(strict=False),
    AfterValidator(_from_the_file),
    WithJsonSchema({"type": "string", "format": "path"}),
]
"""Path of a file. One that is relative starts at the configuration file; `~` is the user's home."""

LENIENT = Strict(strict=False)
"""For lists: TOML's arrays become tuples, which strict validation would refuse."""


@dataclass(frozen=True, slots=True)
class Decides:
    """Marks a union of tables with the setting that decides which of them a table is."""

    setting: str


class Refused(ValueError):
    """A validator refuses a value, and knows what to do about it.

    Attributes:
        hint: What to do about it.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Section(BaseModel):
    """A table of the file: immutable, and refusing settings that it does not know.

    The string under each field documents it; `docs/configuration.md` is made from those strings.

    Attributes:
        elsewhere: Settings of other variants of this table that are easily put here by mistake, and what to
            do about it.
    """

    elsewhere: ClassVar[Mapping[str, str]] = {}

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
        protected_namespaces=(),
    )
