"""LoRA adapters in PEFT's format (Hu et al. 2021, arXiv:2106.09685), merged into the weights.

A weight W [out, in] becomes W + s · B · A, with A [r, in], B [out, r] and the scale s = alpha / r, or
alpha / √r if the adapter was trained with `use_rslora` (Kalajdzievski 2023, arXiv:2312.03732). What PEFT
has trained outright, heads and biases, takes the place of the checkpoint's own. A merged model computes
what the adapter beside the model would, at the cost of the model alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from services.artifacts import AdapterFiles, ArtifactProblem
from services.inference.graph.weights import PREFIXES, Tensor, TensorFile, open_tensors

WRAPPER: Final = "base_model.model."
"""What PEFT puts before the name that a module has in the model."""

UNTRAINED: Final = ".original_module."
"""Copies that PEFT keeps of what it has trained; it never reads them back."""

WRAPPED: Final = re.compile(r"\.base_layer(?=\.)|\.modules_to_save(\.default)?(?=\.)")
"""Parts of names that come from PEFT's own modules, around those of the model."""

FACTOR: Final = re.compile(
    r"(?P<module>.+)\.(?P<factor>lora_A|lora_B|lora_embedding_A|lora_embedding_B)"
    r"(\.default)?(\.(?P<kind>weight|bias))?"
)

HEADS: Final = ("classifier.", "pooler.", "score.")
"""What stands on top of an encoder. A graph without a head has no use for what an adapter brings of one."""

NOT_MERGED: Final = (
    "alora_invocation_tokens",
    "arrow_config",
    "fan_in_fan_out",
    "kasa_config",
    "layer_replication",
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
    "velora_config",
)
"""Variations of LoRA with which the result is not W + s · B · A."""

BEGINNINGS: Final = (None, True, False, "gaussian", "eva", "orthogonal")
"""Ways to begin the training that leave the model's own weights as they are."""

PLAIN_KEY: Final = re.compile(r"(?:(?:[\w.-]|\\[.dw-]|\[\^?[\w.-]+\])[*+?]?|[|^$()])*", re.ASCII)
"""Keys of `rank_pattern` and `alpha_pattern` that are names or simple patterns. Only a single character or
class may be repeated, never a group."""

MOST_CHOICES: Final = 3
MOST_KEY_CHARACTERS: Final = 200
MOST_PATTERNS: Final = 32
"""A key has so few repetitions and groups, and is so short, that matching it cannot take long: what takes
time in a regular expression is that each of them multiplies the ways to try. Of names there may be any
number, of patterns only so many."""

MATRIX: Final = 2
"""Number of axes of what can have factors."""

MERGE_IT: Final = "merge it with PEFT (merge_and_unload) and name the merged model"

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """The part of `adapter_config.json` that decides the numbers."""

    rank: int
    alpha: float
    root: bool
    ranks: Mapping[str, int]
    alphas: Mapping[str, float]

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> LoraConfig:
        """Read it from a parsed `adapter_config.json`.

        Raises:
            ArtifactProblem: The adapter is not LoRA, or a variation of it that cannot be merged, a number
                is missing, or a pattern is not a simple one.
        """
        if config.get("peft_type") != "LORA":
            kind = config.get("peft_type")
            message = f"adapter_config.json: peft_type {kind} is not known, only LORA; {MERGE_IT}"
            raise ArtifactProblem(message)
        for name in NOT_MERGED:
            if config.get(name):
                message = f"adapter_config.json: {name} is set, which cannot be merged here; {MERGE_IT}"
                raise ArtifactProblem(message)
        beginning = config.get("init_lora_weights")
        if beginning not in BEGINNINGS:
            message = (
                f"adapter_config.json: init_lora_weights {beginning} changes the model's own weights, which "
                f"cannot be done here; {MERGE_IT}"
            )
            raise ArtifactProblem(message)
        return cls(
            rank=_rank("r", config.get("r")),
            alpha=_number("lora_alpha", config.get("lora_alpha")),
            root=config.get("use_rslora") is True,
            ranks={key: _rank("rank_pattern", one) for key, one in _pattern(config, "rank_pattern")},
            alphas={key: _number("alpha_pattern", one) for key, one in _pattern(config, "alpha_pattern")},
        )

    def of(self, module: str) -> tuple[int, float]:
        """Return the rank and the scale of a module, by the name that PEFT knows it by.

        The keys of `rank_pattern` and `alpha_pattern` are regular expressions for the end of the name, and
        the first that fits counts.
        """
        rank, alpha = _first(self.ranks, module, self.rank), _first(self.alphas, module, self.alpha)
        return rank, alpha / (math.sqrt(rank) if self.root else rank)


def _number(name: str, value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        message = f"adapter_config.json: {name} is missing or not a number"
        raise ArtifactProblem(message)
    return float(value)


def _rank(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        message = f"adapter_config.json: {name} is missing or not a whole number of 1 or more"
        raise ArtifactProblem(message)
    return value


def _pattern(config: Mapping[str, Any], name: str) -> list[tuple[str, Any]]:
    pattern = config.get(name) or {}
    if not isinstance(pattern, dict):
        message = f"adapter_config.json: {name} is not an object"
        raise ArtifactProblem(message)
    for key in pattern:
        _check_key(name, key)
    if sum(_choices(key) > 0 for key in pattern) > MOST_PATTERNS:
        message = f"adapter_config.json: {name} has more than {MOST_PATTERNS} patterns; {MERGE_IT}"
        raise ArtifactProblem(message)
    return list(pattern.items())


def _check_key(name: str, key: str) -> None:
    """Refuse a key that is not a regular expression, or one that could take for ever to match."""
    if len(key) > MOST_KEY_CHARACTERS or _choices(key) > MOST_CHOICES or not PLAIN_KEY.fullmatch(key):
        message = (
            f"adapter_config.json: a key of {name} is not the name of a module or a simple pattern, with "
            f"{MOST_CHOICES} repetitions and groups at most and no repeated group; {MERGE_IT}"
        )
        raise ArtifactProblem(message)
    try:
        re.compile(key)
    except re.error as error:
        message = f"adapter_config.json: a key of a pattern is not a regular expression: {error}"
        raise ArtifactProblem(message) from error


def _choices(key: str) -> int:
    return sum(map(key.count, "*+?("))


def _first(pattern: Mapping[str, Number], module: str, default: Number) -> Number:
    fitting = (one for key, one in pattern.items() if re.fullmatch(rf"(.*\.)?({key})", module))
    return next(fitting, default)


class Lora:
    """An open adapter. It remembers what has been read of it, so that what fits nowhere is noticed.

    Args:
        config: Its ranks and scales.
        file: Its tensors.
    """

    def __init__(self, config: LoraConfig, file: TensorFile) -> None:
        self._config = config
        self._file = file
        self._whole: dict[str, str] = {}
        self._factors: dict[str, dict[str, str]] = {}
        self._known_as: dict[str, str] = {}
        self._left: dict[str, str] = {}
        self._head_read = False
        for stored in sorted(file.names):
            if UNTRAINED not in stored:
                self._sort(stored)

    def __contains__(self, name: str) -> bool:
        return name in self._whole

    def whole(self, name: str, shape: tuple[int, ...]) -> Tensor | None:
        """Return the tensor that takes the place of the checkpoint's; None if it brings none.

        Raises:
            ArtifactProblem: It has another shape.
        """
        return self._take(self._whole[name], shape) if name in self._whole else None

    def adapt(self, name: str, tensor: Tensor) -> Tensor:
        """Return `tensor` with what was trained beside it added.

        Raises:
            ArtifactProblem: The factors do not fit it.
        """
        self._head_read = self._head_read or name.startswith(HEADS)
        module, _, kind = name.rpartition(".")
        factors = self._factors.get(module, {})
        if kind == "bias" and "lora_B.bias" in factors:
            _, scale = self._config.of(self._known_as[module])
            return tensor + scale * self._take(factors["lora_B.bias"], tensor.shape)
        if kind != "weight" or tensor.ndim != MATRIX:
            return tensor
        if "lora_embedding_A" in factors or "lora_embedding_B" in factors:  # its rows are the inputs
            return self._add(tensor.T, module, "lora_embedding_A", "lora_embedding_B").T
        if "lora_A.weight" in factors or "lora_B.weight" in factors:
            return self._add(tensor, module, "lora_A.weight", "lora_B.weight")
        return tensor

    def refuse_rest(self) -> None:
        """Refuse the adapter if part of it has not been read.

        Raises:
            ArtifactProblem: A tensor belongs to nothing that the graph has.
        """
        for stored, name in self._left.items():
            if self._head_read or not name.startswith(HEADS):
                shape = self._file.shape(stored)
                message = (
                    f"{self._file.path.name}: tensor {stored} of shape {shape} fits nothing in the model; "
                    "the adapter is for other weights"
                )
                raise ArtifactProblem(message)

    def _sort(self, stored: str) -> None:
        name = WRAPPED.sub("", stored.removeprefix(WRAPPER))
        if factor := FACTOR.fullmatch(name):
            module = _own(factor["module"])
            kind = f".{factor['kind']}" if factor["kind"] else ""
            self._factors.setdefault(module, {})[factor["factor"] + kind] = stored
            self._known_as[module] = factor["module"]
            self._left[stored] = module
        else:
            self._left.pop(self._whole.get(_own(name), ""), None)  # a bias may have been saved twice
            self._whole[_own(name)] = stored
            self._left[stored] = _own(name)

    def _add(self, tensor: Tensor, module: str, first: str, second: str) -> Tensor:
        factors = self._factors[module]
        if missing := {first, second} - factors.keys():
            message = f"{self._file.path.name}: {module} has no {missing.pop()}; the file is not whole"
            raise ArtifactProblem(message)
        rank, scale = self._config.of(self._known_as[module])
        out, into = tensor.shape
        down, up = self._take(factors[first], (rank, into)), self._take(factors[second], (out, rank))
        return tensor + scale * (up @ down)

    def _take(self, stored: str, shape: tuple[int, ...]) -> Tensor:
        tensor = self._file.read(stored)
        if tensor.shape != shape:
            message = (
                f"{self._file.path.name}: tensor {stored} has shape {tensor.shape} where the model has "
                f"room for {shape}; the adapter is for other weights"
            )
            raise ArtifactProblem(message)
        self._left.pop(stored, None)
        return tensor


def _own(name: str) -> str:
    """Return what the encoder calls a module, without the attribute that held the encoder."""
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


@contextmanager
def open_adapter(files: AdapterFiles) -> Iterator[Lora]:
    """Open an adapter, and refuse it afterwards if part of it has not been read.

    Raises:
        ArtifactProblem: It is damaged, cannot be merged, or is for other weights.
    """
    config = LoraConfig.read(files.config)
    with open_tensors(files.weights) as file:
        if not file.names:
            message = f"{files.weights.name} holds no tensors; the adapter would change nothing"
            raise ArtifactProblem(message)
        lora = Lora(config, file)
        yield lora
        lora.refuse_rest()
