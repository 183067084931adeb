"""Compute the scores that zero-shot classification must give, by the pipeline of transformers in fp32.

Neither the product nor its tests need that library, so this is run by hand, from the repository's root,
when the models or the cases in `tests/support/zero_shot.py` change:

    python -m venv <folder>
    <folder>/bin/pip install torch transformers
    <folder>/bin/python -m tests.golden.make_zero_shot_goldens

It writes `zero_shot.npz`, with the versions of the libraries in it. The pipeline runs each text beside
each hypothesis in a batch of its own, so that no padding takes part, and cuts the text where both are too
long.

    <model>/<case>/order    places of the labels by descending score, [texts, labels]
    <model>/<case>/scores   their scores in that order, [texts, labels]
    <model>/weights         some of the model's weights
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

# These are in no extra of this project, see above.
import torch  # type: ignore[import-not-found]
import transformers  # type: ignore[import-not-found]
from numpy.typing import NDArray

from tests.support import zero_shot as cases
from tests.support.classification import last_weights

Arrays = dict[str, NDArray[Any]]


def pipeline_of(folder: Path) -> Any:
    """Return the zero-shot pipeline over the model of a folder."""
    content = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": cases.MAX_TOKENS,
        "pad_token": "[PAD]",
        "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(content), encoding="utf-8")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return transformers.pipeline("zero-shot-classification", model=model.eval(), tokenizer=tokenizer)


def classify(pipeline: Any, case: cases.Case) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the places of the labels of each text by descending score, and their scores."""
    options = {} if case.template is None else {"hypothesis_template": case.template}
    answers = [
        pipeline(text, candidate_labels=list(case.labels), multi_label=case.multi_label, **options)
        for text in case.texts
    ]
    order = np.array([[case.labels.index(label) for label in answer["labels"]] for answer in answers])
    return order, np.array([answer["scores"] for answer in answers])


def arrays_of(scratch: Path) -> Arrays:
    """Return the arrays of all models and cases."""
    arrays: Arrays = {}
    for name, classes in cases.CLASSES.items():
        folder = cases.write_nli_model(scratch / name, *classes)
        pipeline = pipeline_of(folder)
        arrays[f"{name}/weights"] = last_weights(folder)
        for case_name, case in cases.CASES.items():
            order, scores = classify(pipeline, case)
            arrays[f"{name}/{case_name}/order"] = order
            arrays[f"{name}/{case_name}/scores"] = scores
    return arrays


def write(arrays: Arrays) -> None:
    """Write arrays with the versions that they come from."""
    versions = [f"{library.__name__} {library.__version__}" for library in (torch, transformers)]
    path = cases.ZERO_SHOT_FILE
    np.savez_compressed(path, allow_pickle=False, versions=np.array(versions), **arrays)
    print(f"{path.name}: {path.stat().st_size // 1000} kB, {', '.join(versions)}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as created:
        write(arrays_of(Path(created)))
