"""Renders docs/configuration.md from the sections, so that the page cannot tell anything else than the code.

python -m services.config.reference                               # to standard output
python -m services.config.reference --check docs/configuration.md # exit code 1 if the page is old
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import unified_diff
from pathlib import Path
from types import NoneType
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel

from services.config.configuration import Configuration
from services.config.explain import deciding_setting, deciding_values, tables_by_tag
from services.config.introduction import COMMAND, INTRODUCTION
from services.config.sections.base import Section
from services.config.sections.models import TargetName

SIMPLE: Final = {
    "address": ("address (`host:port`)", "addresses (`host:port`)"),
    "optional-address": ('address (`host:port`) or "off"', 'addresses (`host:port`) or "off"'),
    "boolean": ("true or false", "booleans"),
    "path": ("path of a file", "paths of files"),
    "integer": ("whole number", "whole numbers"),
    "name": ("name", "names"),
    "number": ("number", "numbers"),
    "secret": ("reference to a secret", "references to secrets"),
    "string": ("string", "strings"),
    "target": ("target (`provider/model`)", "targets (`provider/model`)"),
    "url": ("URL without user and query", "URLs without user and query"),
}
"""What simple values are called: one, several."""

BELOW_THE_TOP: Final = 2


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as the page tells it.

    Attributes:
        name: Its name, or all names that it may have.
        kind: What values it takes, in words.
        default: Its default as TOML; None if it has none that a file could say.
        required: Whether the file must have it.
        description: What it means.
    """

    name: str
    kind: str
    default: str | None
    required: bool
    description: str

    def __str__(self) -> str:
        if self.required:
            fallback = " Required."
        else:
            fallback = f" Default: `{self.default}`." if self.default is not None else ""
        body = "".join(f"\n  {line}" for line in self.description.splitlines())
        return f"- {self.name} · {self.kind}.{fallback}{body}"


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the file.

    Attributes:
        path: Its path, for example `models.<name>`.
        variant: What makes it this table and no other of the same path, in words; empty if nothing does.
        description: What it is for.
        settings: What can be in it.
    """

    path: str
    description: str
    settings: tuple[Setting, ...]
    variant: str = ""

    def __str__(self) -> str:
        settings = "\n".join(str(setting) for setting in self.settings)
        variant = f" {self.variant}" if self.variant else ""
        return f"\n### `[{self.path}]`{variant}\n\n{self.description}\n\n{settings}\n"


def page() -> str:
    """Return the whole page."""
    return INTRODUCTION + "".join(str(table) for table in tables())


def tables(section: type[BaseModel] = Configuration, path: str = "") -> Sequence[Table]:
    """Return the tables within a section, in the order of the code, each followed by those within it.

    Tables that differ in nothing but one name of their paths are told once, after the last of them.
    """
    found: list[Table] = []
    for table in _tables(section, path):
        alike = next((one for one in found if _is_like(one, table)), None)
        if alike is None:
            found.append(table)
            continue
        found.remove(alike)
        found.append(replace(table, path=_common(alike.path, table.path)))
    return found


def _tables(section: type[BaseModel], path: str) -> Iterator[Table]:
    for name, field in section.model_fields.items():
        place, description = f"{path}{name}", field.description or ""
        inner = _unless_absent(field.annotation)
        if get_origin(inner) is dict:
            key, inner = get_args(inner)
            place = f'{place}."<provider>/<model>"' if key == TargetName else f"{place}.<{_singular(name)}>"
            if tables_by_tag(inner):
                yield from _variants(place, description, inner)
                continue
        elif _is_section(inner):
            optional = inner is not field.annotation  # else the page says nothing of leaving it out
            description = "\n\n".join(([description] if optional else []) + [_told(inner)])
        if _is_section(inner):
            yield from _nested(inner, place, description)


def _nested(section: type[BaseModel], place: str, description: str) -> Iterator[Table]:
    """Yield the table of a section, if it has settings of its own, and those within it."""
    if own := tuple(_settings(section)):
        yield Table(place, description, own)
    yield from _tables(section, f"{place}.")


def _is_like(one: Table, other: Table) -> bool:
    """Say whether two tables differ in one name of their paths at most, below the top."""
    ours, theirs = one.path.split("."), other.path.split(".")
    differing = sum(ours[i] != theirs[i] for i in range(min(len(ours), len(theirs))))
    same = (one.description, one.settings, one.variant) == (other.description, other.settings, other.variant)
    return same and len(ours) == len(theirs) > BELOW_THE_TOP and differing <= 1


def _common(one: str, other: str) -> str:
    """Return the path that stands for both."""
    parts = zip(one.split("."), other.split("."), strict=True)
    return ".".join(mine if mine == theirs else "<name>" for mine, theirs in parts)


def _unless_absent(annotation: Any) -> Any:
    """Return what a setting may be besides absent."""
    choices = [one for one in get_args(annotation) if one is not NoneType]
    return choices[0] if NoneType in get_args(annotation) and len(choices) == 1 else annotation


def _holds_tables(annotation: Any) -> bool:
    inner = _unless_absent(annotation)
    if get_origin(inner) is dict:
        inner = get_args(inner)[1]
        return bool(tables_by_tag(inner)) or _is_section(inner)
    return _is_section(inner)


def _singular(name: str) -> str:
    return "capability" if name == "routes" else "name"


def _variants(path: str, description: str, annotation: Any) -> Iterator[Table]:
    """Yield the tables of what one setting decides about: what several have in common, then what each has.

    Variants with a base class of their own share its settings.
    """
    deciding, by_tag = deciding_setting(annotation), tables_by_tag(annotation)
    values = ", ".join(f"`{json.dumps(value)}`" for value in dict.fromkeys(deciding_values(annotation)))
    first = next(iter(by_tag.values()))
    choice = Setting(f"`{deciding}`", f"one of {values}", None, True, _description(first, deciding))
    yield Table(path, f"{description} What else a table may hold depends on `{deciding}`:", (choice,))
    told: set[type[BaseModel]] = set()
    for variant in dict.fromkeys(by_tag.values()):
        base = _base(variant)
        if base is not None and base not in told:
            told.add(base)
            shared = [tag for tag, other in by_tag.items() if issubclass(other, base)]
            which = _condition(deciding, shared) if len(shared) < len(by_tag) else f"of any `{deciding}`"
            yield Table(path, _told(base), tuple(_settings(base)), which)
        known = {deciding, *(base.model_fields if base is not None else ())}
        own = tuple(one for one in _settings(variant) if one.name.strip("`") not in known)
        tags = [tag for tag, other in by_tag.items() if other is variant]
        yield Table(path, _told(variant), own, _condition(deciding, tags))


def _base(variant: type[BaseModel]) -> type[BaseModel] | None:
    """Return the class whose settings a variant shares with others; None if it stands alone."""
    base = variant.__mro__[1]
    return base if issubclass(base, Section) and base is not Section else None


def _told(section: type[BaseModel]) -> str:
    return inspect.cleandoc(section.__doc__ or "")


def _condition(deciding: str, tags: Sequence[str]) -> str:
    """Return the condition under which a table is one of the variants with these tags.

    A tag may say more than the value of the setting: `embed and targets`.
    """
    told = []
    for tag in tags:
        value, _, more = tag.partition(" and ")
        told.append(f"`{json.dumps(value)}`" + (f" and `{more}`" if more else ""))
    *others, last = told
    return f"with `{deciding}` = " + (f"{', '.join(others)} or {last}" if others else last)


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _settings(section: type[BaseModel]) -> Iterator[Setting]:
    properties = section.model_json_schema()["properties"]
    for name, field in section.model_fields.items():
        if _holds_tables(field.annotation):
            continue
        required = field.is_required()
        yield Setting(
            name=f"`{name}`",
            kind=kind(properties[name]),
            default=None if required or field.default is None else json.dumps(field.default),
            required=required,
            description=_description(section, name),
        )


def _description(section: type[BaseModel], name: str) -> str:
    """Return the docstring of a setting: of the class that defines it, or that it is inherited from."""
    for one in section.__mro__:
        field = getattr(one, "model_fields", {}).get(name)
        if field is not None and field.description:
            return str(field.description)
    return ""


def kind(schema: Mapping[str, Any], *, several: bool = False) -> str:
    """Return in words what values a JSON schema allows; `several` asks for the plural."""
    if choices := schema.get("anyOf"):  # of a setting that may be left out
        schema = next(one for one in choices if one["type"] != "null")
    if "const" in schema:
        return f"always `{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return "one of " + ", ".join(f"`{json.dumps(one)}`" for one in schema["enum"])
    if schema["type"] == "array":
        return f"list of {kind(schema['items'], several=True)}"
    if schema["type"] == "object":
        return f"table of {kind(schema['additionalProperties'], several=True)}"
    return SIMPLE[schema.get("format", schema["type"])][several] + _range(schema)


def _range(schema: Mapping[str, Any]) -> str:
    least, most, above = (schema.get(key) for key in ("minimum", "maximum", "exclusiveMinimum"))
    if above is not None:
        low = f", more than {above:,}"
        return low if most is None else f"{low}, up to {most:,}"
    if most is None:
        return "" if least is None else f", {least:,} or more"
    return f", {least:,} to {most:,}"


def check(path: Path) -> str:
    """Return how the file differs from the page; empty if it does not."""
    written = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    rendered = page().splitlines(keepends=True)
    difference = "".join(unified_diff(written, rendered, str(path), "what the code says", n=0))
    return difference and f"{difference}make it again: {COMMAND} > {path}\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page to standard output, or compare a file with it; return the exit code."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Render the reference of inglenook.toml.")
    parser.add_argument("--check", type=Path, metavar="FILE", help="compare FILE with what would be written")
    options = parser.parse_args(arguments)
    if options.check is None:
        sys.stdout.write(page())
        return 0
    difference = check(options.check)
    sys.stderr.write(difference)
    return 1 if difference else 0


if __name__ == "__main__":
    sys.exit(main())
