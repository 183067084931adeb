"""Zero-shot scores against those of the pipeline in transformers over the same weights (tests/golden)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from services.config import Limits
from services.inference.models.labels import read_roles
from services.inference.models.nli import EntailmentModel, InferOptions, Pair
from services.inference.models.zero_shot import DEFAULT_TEMPLATE, ClassifyOptions
from tests.support import zero_shot
from tests.support.classification import last_weights
from tests.support.engine_parts import workshop
from tests.support.entailment import load_nli_model

TOLERANCE: Final = 1e-4
BATCH_TOLERANCE: Final = 1e-5

Golden = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model, which one of `zero_shot.CLASSES` it is, and its folder."""

    name: str
    folder: Path
    model: EntailmentModel

    async def classify(self, case: zero_shot.Case, *texts: str) -> NDArray[np.float64]:
        """Return places and scores of the labels of each text, [texts, labels, 2], best first."""
        options = ClassifyOptions(case.template or DEFAULT_TEMPLATE, case.multi_label, truncation="right")
        return np.array((await self.model.classify(texts or case.texts, case.labels, options)).results)


@pytest.fixture(scope="module")
def golden() -> Golden:
    """Return the arrays of `zero_shot.npz`, described in `make_zero_shot_goldens.py`."""
    with np.load(zero_shot.ZERO_SHOT_FILE, allow_pickle=False) as arrays:
        return dict(arrays)


@pytest_asyncio.fixture(scope="module", params=zero_shot.CLASSES)
async def loaded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Loaded]:
    """Load each of the models as a service does."""
    place = tmp_path_factory.mktemp("zero-shot")
    folder = zero_shot.write_nli_model(place / "model", *zero_shot.CLASSES[request.param])
    model, facts = await load_nli_model(folder, workshop(place, limits=Limits()))
    assert facts.labels == zero_shot.CLASSES[request.param]
    yield Loaded(request.param, folder, model)
    await model.close()


@pytest.mark.parametrize("name", zero_shot.CASES)
async def test_labels_are_ranked_and_scored_as_the_pipeline_does(
    loaded: Loaded, golden: Golden, name: str
) -> None:
    """With any template, on their own or not, and with texts that are cut to make room for the hypothesis."""
    # Else numpy draws other random numbers than it did when the goldens were made: make them again.
    np.testing.assert_array_equal(last_weights(loaded.folder), golden[f"{loaded.name}/weights"])

    answers = await loaded.classify(zero_shot.CASES[name])

    order, scores = golden[f"{loaded.name}/{name}/order"], golden[f"{loaded.name}/{name}/scores"]
    np.testing.assert_array_equal(answers[..., 0], order)
    np.testing.assert_allclose(answers[..., 1], scores, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["labels", "multi_label"])
async def test_a_text_has_the_same_scores_whatever_is_in_its_call(loaded: Loaded, name: str) -> None:
    """Alone or among longer ones, in this order or the other."""
    case = zero_shot.CASES[name]
    together = await loaded.classify(case)
    reversed_ = await loaded.classify(case, *case.texts[::-1])
    alone = np.concatenate([await loaded.classify(case, text) for text in case.texts])
    np.testing.assert_allclose(together, alone, rtol=0, atol=BATCH_TOLERANCE)
    np.testing.assert_allclose(reversed_[::-1], alone, rtol=0, atol=BATCH_TOLERANCE)


async def test_inference_says_what_classification_is_made_of(loaded: Loaded, golden: Golden) -> None:
    """A label on its own is entailment against the opposite, whatever neutral has."""
    case = zero_shot.CASES["one_label"]
    pairs = [Pair(text, DEFAULT_TEMPLATE.replace("{}", case.labels[0])) for text in case.texts]

    judged = await loaded.model.infer(pairs, InferOptions(truncation="right"))

    roles = read_roles(zero_shot.CLASSES[loaded.name])
    entailment = np.array([one.entailment for one in judged.results])
    opposite = 1 - entailment
    if roles.contradiction is not None:
        opposite = np.array([one.contradiction for one in judged.results])
    expected = golden[f"{loaded.name}/one_label/scores"][:, 0]
    np.testing.assert_allclose(entailment / (entailment + opposite), expected, rtol=0, atol=TOLERANCE)
