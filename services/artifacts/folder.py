"""What a model's folder holds: its files, what they say, and their hashes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeGuard

from services.artifacts.problem import ArtifactProblem
from services.config import Pooling

TOKENIZER: Final = "tokenizer.json"
CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"
POOLING: Final = "1_Pooling/config.json"
SENTENCE_CONFIG: Final = "sentence_bert_config.json"
GRAPHS: Final = re.compile(r"(onnx/)?[^/]+\.onnx")
ONNX_CANDIDATES: Final = ("model.onnx", "onnx/model.onnx")
ADAPTER_CONFIG: Final = "adapter_config.json"
ADAPTER_WEIGHTS: Final = "adapter_model.safetensors"
SHARDS: Final = "model.safetensors.index.json"
PICKLES: Final = ("pytorch_model.bin", "model.pt", "model.bin", "adapter_model.bin")
PICKLE_SHARDS: Final = "pytorch_model-"

POOLING_FLAGS: Final[Mapping[str, Pooling]] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last_token",
}


BUILDABLE: Final = ("bert", "camembert", "roberta", "xlm-roberta")
"""Families (`model_type`) that a graph can be built for."""

OFFSET_POSITIONS: Final = frozenset({"camembert", "roberta", "xlm-roberta"})
"""Families that begin to count positions after the id of the padding token."""


@dataclass(frozen=True, slots=True)
class AdapterFiles:
    """What a LoRA adapter's folder holds.

    Attributes:
        config: `adapter_config.json`.
        weights: `adapter_model.safetensors`.
        model_config: `config.json`: what the adapter changes about the model's own; empty if there is none.
        sha256: Hash of each of these files, by its name within the folder.
    """

    config: Mapping[str, Any]
    weights: Path
    model_config: Mapping[str, Any]
    sha256: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Artifacts:
    """What a model's folder holds.

    Attributes:
        folder: The folder.
        graph: A ready-made ONNX file; None when the graph has to be built from `weights`.
        weights: The safetensors file; None when there is a ready-made graph.
        config: `config.json`, empty if there is none.
        pooling: What `1_Pooling/config.json` says; None if there is no such file, or it says nothing that is
            known.
        max_tokens: What `sentence_bert_config.json` says, else the number of positions; None if unknown.
        sha256: Hash of each file that decides the answers, by its name within the folder.
        pooling_problem: Why there is no pooling although there is a file; empty otherwise. Only models that
            pool and are not told how have to mind.
    """

    folder: Path
    graph: Path | None
    weights: Path | None
    config: Mapping[str, Any]
    pooling: Pooling | None
    max_tokens: int | None
    sha256: Mapping[str, str]
    pooling_problem: str = ""

    @property
    def positions(self) -> int | None:
        """Most tokens that the weights have positions for; None if `config.json` does not say."""
        return _positions(self.config)

    @property
    def architecture(self) -> str:
        """Model family, for example `bert`; empty if `config.json` does not say."""
        said = self.config.get("model_type")
        return said if isinstance(said, str) else ""


def examine(folder: Path, onnx_file: str | None = None, *, build: bool = False) -> Artifacts:
    """Read what a model's folder holds, and hash it.

    Args:
        folder: The folder.
        onnx_file: Which `.onnx` file to run, relative to it; None for the obvious one.
        build: Pass over `.onnx` files: the graph is going to be built.

    Raises:
        ArtifactProblem: Something that is needed is missing or damaged.
    """
    if not (folder / TOKENIZER).is_file():
        message = f"{folder} has no {TOKENIZER}"
        raise ArtifactProblem(message)
    config = read_json(folder / CONFIG)
    names = _listing(folder)
    graph = None if build else _find_graph(folder, names, onnx_file)
    weights = None if graph else _find_weights(folder, names, config)
    data = data_files(graph) if graph else []
    pooling, pooling_problem = _read_pooling(folder / POOLING)
    deciding = [TOKENIZER, *(str(path.relative_to(folder)) for path in (graph, weights, *data) if path)]
    if config:
        deciding.append(CONFIG)
    return Artifacts(
        folder=folder,
        graph=graph,
        weights=weights,
        config=config,
        pooling=pooling,
        max_tokens=_read_max_tokens(folder, config),
        sha256={name: _sha256(folder / name) for name in deciding},
        pooling_problem=pooling_problem,
    )


def examine_adapter(folder: Path) -> AdapterFiles:
    """Read what a LoRA adapter's folder holds, and hash it.

    Raises:
        ArtifactProblem: Something that is needed is missing or damaged.
    """
    deciding = choose_adapter(str(folder), _listing(folder))
    return AdapterFiles(
        config=read_json(folder / ADAPTER_CONFIG),
        weights=folder / ADAPTER_WEIGHTS,
        model_config=read_json(folder / CONFIG),
        sha256={name: _sha256(folder / name) for name in deciding},
    )


def choose_graph(place: str, names: Collection[str], onnx_file: str | None) -> str | None:
    """Return which of the files of a folder or repository is the graph to run; None if there is no `.onnx`.

    Args:
        place: The folder or repository, for messages.
        names: The files in it, relative to it.
        onnx_file: The one that was asked for; None for the obvious one.

    Raises:
        ArtifactProblem: It has not the one that was asked for, or several and none that is obvious.
    """
    found = sorted(filter(GRAPHS.fullmatch, names))
    if onnx_file is not None:
        if onnx_file not in names:
            message = f"{place} has no {onnx_file}" + (f"; it has {', '.join(found)}" if found else "")
            raise ArtifactProblem(message)
        return onnx_file
    if len(found) <= 1:
        return found[0] if found else None
    for name in ONNX_CANDIDATES:
        if name in found:
            return name
    message = f"{place} has several .onnx files ({', '.join(found)}); say which with onnx_file"
    raise ArtifactProblem(message)


def choose_data(graph: str, names: Collection[str]) -> list[str]:
    """Return the files that a large graph keeps its weights in; exporters name them after the graph."""
    beside = (name for name in names if name.startswith((f"{graph}.", f"{graph}_")))
    return sorted(name for name in beside if "/" not in name.removeprefix(graph))


def choose_weights(place: str, names: Collection[str]) -> str:
    """Return which of the files of a folder or repository holds the weights to build a graph from.

    Raises:
        ArtifactProblem: There is none that can be read, or no `config.json` beside it.
    """
    if WEIGHTS in names and CONFIG in names:
        return WEIGHTS
    if WEIGHTS in names:
        message = f"{place} has no {CONFIG}"
        raise ArtifactProblem(message)
    message = f"{place} has no {WEIGHTS} or .onnx file"
    if SHARDS in names:
        message += "; weights in several files are not read: join them into one"
    raise ArtifactProblem(message + _about_pickles(names))


def choose_adapter(place: str, names: Collection[str]) -> list[str]:
    """Return which of the files of a folder or repository make up a LoRA adapter.

    Raises:
        ArtifactProblem: It is none.
    """
    for name, more in ((ADAPTER_CONFIG, ""), (ADAPTER_WEIGHTS, _about_pickles(names))):
        if name not in names:
            message = f"{place} has no {name}{more}"
            raise ArtifactProblem(message)
    return [name for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS, CONFIG) if name in names]


def _about_pickles(names: Collection[str]) -> str:
    if any(name in PICKLES or name.startswith(PICKLE_SHARDS) for name in names):
        return "; pickle files are not loaded, because they can run code: convert them to safetensors"
    return ""


def _listing(folder: Path) -> set[str]:
    """Return the files of a folder as far as they can matter, relative to it."""
    found = [*folder.glob("*"), *folder.glob("onnx/*")]
    return {path.relative_to(folder).as_posix() for path in found if path.is_file()}


def _find_graph(folder: Path, names: set[str], onnx_file: str | None) -> Path | None:
    if onnx_file is not None and (folder / onnx_file).is_file():
        return folder / onnx_file  # wherever below the folder it is
    name = choose_graph(str(folder), names, onnx_file)
    return folder / name if name else None


def data_files(graph: Path) -> list[Path]:
    """Return the files that a graph keeps its weights in, if it is large; exporters name them after it."""
    beside = {path.name for path in graph.parent.iterdir() if path.is_file()}
    return [graph.parent / name for name in choose_data(graph.name, beside)]


def _find_weights(folder: Path, names: set[str], config: Mapping[str, Any]) -> Path:
    # An empty config.json says nothing, as if it were not there.
    return folder / choose_weights(str(folder), names if config else names - {CONFIG})


def _positions(config: Mapping[str, Any]) -> int | None:
    value = config.get("max_position_embeddings")
    if not _is_whole(value):
        return None
    padding = config.get("pad_token_id", 1)
    # Compared one by one: what a file says may be a list, which no set can be asked for.
    if any(config.get("model_type") == family for family in OFFSET_POSITIONS) and _is_whole(padding):
        return value - padding - 1
    return value


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds; an empty one if there is no such file.

    Raises:
        ArtifactProblem: It cannot be read, or holds something else.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        message = f"{path.name} cannot be read: {error}"
        raise ArtifactProblem(message) from error
    if not isinstance(content, dict):
        message = f"{path.name} does not hold a JSON object"
        raise ArtifactProblem(message)
    return content


def _read_pooling(path: Path) -> tuple[Pooling | None, str]:
    """Return how the folder says to pool, if it does, and what is wrong with what it says, if anything."""
    content = read_json(path)
    chosen = [pooling for flag, pooling in POOLING_FLAGS.items() if content.get(flag) is True]
    others = [flag for flag, value in content.items() if value is True and flag.startswith("pooling_mode_")]
    if content and (len(chosen) != 1 or len(others) != 1):
        return None, f"{path.parent.name}/{path.name} asks for a pooling that is not known; set pooling"
    return (chosen[0] if chosen else None), ""


def _read_max_tokens(folder: Path, config: Mapping[str, Any]) -> int | None:
    said = read_json(folder / SENTENCE_CONFIG).get("max_seq_length")
    return said if _is_whole(said) else _positions(config)  # it is null in some folders


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        message = f"{path.name} cannot be read: {error.strerror}"
        raise ArtifactProblem(message) from error
