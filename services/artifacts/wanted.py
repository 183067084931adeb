"""What may be asked for: which files, and where they may come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from services.config import Hub

Report = Callable[[str], None]
"""Is told how a download is coming along, in short sentences for people, from the thread that downloads."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which files are wanted.

    Attributes:
        source: `package:<package>/<folder>`, `dir:<folder>` or `hf:<organization>/<name>`.
        revision: Commit of an `hf:` source, 40 hexadecimal digits.
        onnx_file: Which `.onnx` file is going to run, relative to the folder; None for the obvious one.
        build: Pass over `.onnx` files: the graph is going to be built.
        adapter: A LoRA adapter is wanted, not a model.
    """

    source: str
    revision: str | None = None
    onnx_file: str | None = None
    build: bool = False
    adapter: bool = False


@dataclass(frozen=True, slots=True)
class Origins:
    """Where files may come from.

    Attributes:
        base: Where relative folders start.
        cache: Our cache directory; what is known of downloaded files is recorded below it.
        hub: How the hub is asked.
    """

    base: Path
    cache: Path
    hub: Hub = field(default_factory=Hub)
