"""A model's files: where they are, what they say, and their hashes."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from services.inference.errors import ArtifactProblem
from services.inference.graph.heads import Pooling

TOKENIZER: Final = "tokenizer.json"
CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"
POOLING: Final = "1_Pooling/config.json"
SENTENCE_CONFIG: Final = "sentence_bert_config.json"
ONNX_CANDIDATES: Final = ("model.onnx", "onnx/model.onnx")
PICKLES: Final = ("pytorch_model.bin", "model.pt", "model.bin")

POOLING_FLAGS: Final[Mapping[str, Pooling]] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last_token",
}


@dataclass(frozen=True, slots=True)
class Artifacts:
    """What a model's folder holds.

    Attributes:
        folder: The folder.
        graph: A ready-made ONNX file; None when the graph has to be built from `weights`.
        weights: The safetensors file; None when there is a ready-made graph.
        config: `config.json`, empty if there is none.
        pooling: What `1_Pooling/config.json` says; None if there is no such file.
        max_tokens: What `sentence_bert_config.json` says, else the number of positions; None if unknown.
        sha256: Hash of each file that decides the answers, by its name within the folder.
    """

    folder: Path
    graph: Path | None
    weights: Path | None
    config: Mapping[str, Any]
    pooling: Pooling | None
    max_tokens: int | None
    sha256: Mapping[str, str]

    @property
    def positions(self) -> int | None:
        """Most tokens that the weights have positions for; None if `config.json` does not say."""
        value = self.config.get("max_position_embeddings")
        return int(value) if isinstance(value, int) else None

    @property
    def architecture(self) -> str:
        """Model family, for example `bert`; empty if `config.json` does not say."""
        return str(self.config.get("model_type", ""))


def locate(source: str, base: Path) -> Path:
    """Return the folder that a source names.

    Args:
        source: `package:<package>/<folder>` or `dir:<folder>`.
        base: Where relative folders start.

    Raises:
        ArtifactProblem: There is no such package or folder.
    """
    scheme, _, place = source.partition(":")
    if scheme == "package":
        package, _, inside = place.partition("/")
        # The package is found, not imported: no code of it runs.
        spec = None
        with suppress(ValueError):  # of modules that were not imported from a file, such as __main__
            spec = importlib.util.find_spec(package) if package.isidentifier() else None
        if spec is None or not spec.submodule_search_locations:
            message = f"the Python package {package} is not installed"
            raise ArtifactProblem(message)
        folder = Path(next(iter(spec.submodule_search_locations))) / inside
    else:
        folder = base / Path(place).expanduser()
    if not folder.is_dir():
        message = f"there is no folder {folder}"
        raise ArtifactProblem(message)
    return folder


def examine(folder: Path, onnx_file: str | None) -> Artifacts:
    """Read what a model's folder holds, and hash it.

    Raises:
        ArtifactProblem: Something that is needed is missing or damaged.
    """
    if not (folder / TOKENIZER).is_file():
        message = f"{folder} has no {TOKENIZER}"
        raise ArtifactProblem(message)
    config = _read_json(folder / CONFIG)
    graph = _find_graph(folder, onnx_file)
    weights = None if graph else _find_weights(folder, config)
    data = _find_data(graph) if graph else []
    deciding = [TOKENIZER, *(str(path.relative_to(folder)) for path in (graph, weights, *data) if path)]
    if config:
        deciding.append(CONFIG)
    return Artifacts(
        folder=folder,
        graph=graph,
        weights=weights,
        config=config,
        pooling=_read_pooling(folder / POOLING),
        max_tokens=_read_max_tokens(folder, config),
        sha256={name: _sha256(folder / name) for name in deciding},
    )


def _find_graph(folder: Path, onnx_file: str | None) -> Path | None:
    if onnx_file is not None:
        if not (folder / onnx_file).is_file():
            message = f"{folder} has no {onnx_file}"
            raise ArtifactProblem(message)
        return folder / onnx_file
    found = [*folder.glob("*.onnx"), *folder.glob("onnx/*.onnx")]
    if len(found) <= 1:
        return found[0] if found else None
    for name in ONNX_CANDIDATES:
        if folder / name in found:
            return folder / name
    names = ", ".join(sorted(str(path.relative_to(folder)) for path in found))
    message = f"{folder} has several .onnx files ({names}); say which with onnx_file"
    raise ArtifactProblem(message)


def _find_data(graph: Path) -> list[Path]:
    """Return the files that large graphs keep their weights in; exporters name them after the graph."""
    return sorted(
        path
        for path in graph.parent.iterdir()
        if path.is_file() and path.name.startswith((f"{graph.name}.", f"{graph.name}_"))
    )


def _find_weights(folder: Path, config: Mapping[str, Any]) -> Path:
    if (folder / WEIGHTS).is_file() and config:
        return folder / WEIGHTS
    missing = CONFIG if (folder / WEIGHTS).is_file() else f"{WEIGHTS} or .onnx file"
    message = f"{folder} has no {missing}"
    if any((folder / name).is_file() for name in PICKLES):
        message += "; pickle files are not loaded, because they can run code: convert them to safetensors"
    raise ArtifactProblem(message)


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"{path.name} cannot be read: {error}"
        raise ArtifactProblem(message) from error
    if not isinstance(content, dict):
        message = f"{path.name} does not hold a JSON object"
        raise ArtifactProblem(message)
    return content


def _read_pooling(path: Path) -> Pooling | None:
    content = _read_json(path)
    chosen = [pooling for flag, pooling in POOLING_FLAGS.items() if content.get(flag) is True]
    others = [flag for flag, value in content.items() if value is True and flag.startswith("pooling_mode_")]
    if content and (len(chosen) != 1 or len(others) != 1):
        message = f"{path.parent.name}/{path.name} asks for a pooling that is not known; set pooling"
        raise ArtifactProblem(message)
    return chosen[0] if chosen else None


def _read_max_tokens(folder: Path, config: Mapping[str, Any]) -> int | None:
    said = _read_json(folder / SENTENCE_CONFIG).get("max_seq_length")
    said = config.get("max_position_embeddings") if said is None else said  # it is null in some folders
    return int(said) if isinstance(said, int) else None


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        message = f"{path.name} cannot be read: {error.strerror}"
        raise ArtifactProblem(message) from error
