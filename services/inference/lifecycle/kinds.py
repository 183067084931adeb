"""What every kind of model has in common, and what it takes to load one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from services.config import LocalModel
from services.inference.lifecycle.states import ModelFacts


class LoadedModel(Protocol):
    """A model in memory."""

    @property
    def max_input_tokens(self) -> int:
        """Longest input in tokens, special tokens included."""

    @property
    def queue_size(self) -> int:
        """How many inputs wait."""

    @property
    def utilization(self) -> float:
        """How busy its sessions are: 0 when idle, 1 when all of them run, more when inputs wait."""

    async def count_tokens(self, inputs: Sequence[str]) -> list[int]:
        """Return the tokens of each text."""

    async def close(self) -> None:
        """Finish the calls that were accepted, then give back threads and memory."""


M_co = TypeVar("M_co", bound=LoadedModel, covariant=True)
S_contra = TypeVar("S_contra", bound=LocalModel, contravariant=True)


class Prepared(Protocol[M_co]):
    """A model whose files are there and whose graph is built. Nothing of it is in memory yet."""

    @property
    def weight_bytes(self) -> int:
        """Size of what will be opened."""

    @property
    def facts(self) -> ModelFacts:
        """What is known of it; asked for after it was opened."""

    async def open(self) -> M_co:
        """Read the weights, open sessions and warm them up. What fails leaves nothing in memory.

        Raises:
            ArtifactProblem: The model cannot be opened; the message says why.
        """


class Loader(Protocol[M_co, S_contra]):
    """Loads models, in two steps."""

    async def prepare(self, name: str, section: S_contra, report: Callable[[str], None]) -> Prepared[M_co]:
        """Fetch, hash and build what the model is opened from. May take long, and takes no lasting memory.

        Args:
            name: The model's public name.
            section: What the configuration says about it.
            report: Takes, in any thread, a few words on what is being done. Raises once the load was
                cancelled; what it raises is to end what is being done.

        Raises:
            ArtifactProblem: Files are missing, damaged or not understood; the message says which and why.
        """
