"""What holds for the sections of models beyond the types of their settings."""

from __future__ import annotations

import pytest

from services.config import NliModel, RerankModel
from tests.unit.config.conftest import Accepted, Refused

COMMIT = "0123456789abcdef0123456789abcdef01234567"
HUB = '[models.m]\ncapability = "rerank"\nsource = "hf:org/name"\n'
FOLDER = '[models.m]\ncapability = "rerank"\nsource = "dir:m"\n'


def test_capability_decides_what_a_model_may_say(accepted: Accepted, refused: Refused) -> None:
    """Each kind has its own settings; one of another kind is as wrong as one that does not exist."""
    models = accepted(
        FOLDER + '[models.n]\ncapability = "nli"\nsource = "dir:n"\nlabels = ["entailment", "neutral"]'
    ).models

    assert isinstance(models["m"], RerankModel)
    assert models["m"].kind == "cross-encoder"
    assert isinstance(models["n"], NliModel)
    assert models["n"].labels == ("entailment", "neutral")
    assert refused(FOLDER + 'labels = ["entailment"]')[0].startswith("models.m.labels: is not a setting")


def test_missing_capability_is_told_like_any_missing_setting(refused: Refused) -> None:
    """Nothing else of the section can be checked then, so that is the one problem told."""
    assert refused('[models.m]\nsource = "dir:m"\nanything = 1') == [
        "models.m.capability: is missing (add it; docs/configuration.md lists every setting)"
    ]


def test_hub_sources_are_pinned_to_a_commit(accepted: Accepted, refused: Refused) -> None:
    """A branch or tag could be other weights tomorrow, and answers would change without a trace."""
    model = accepted(HUB + f'revision = "{COMMIT}"').models["m"]
    assert isinstance(model, RerankModel)
    assert model.revision == COMMIT
    assert refused(HUB)[0].startswith("models.m.revision: is missing: models from the hub are pinned")
    assert refused(HUB + 'revision = "main"')[0].startswith("models.m.revision: must be a full commit hash")
    assert refused(FOLDER + f'revision = "{COMMIT}"') == [
        "models.m.revision: is only for hf: sources (remove it)"
    ]


def test_hub_adapters_are_pinned_like_models(accepted: Accepted, refused: Refused) -> None:
    """An adapter changes every answer, as weights do."""
    adapter = FOLDER + 'adapter = "hf:org/adapter"\n'

    model = accepted(adapter + f'adapter_revision = "{COMMIT}"').models["m"]
    assert isinstance(model, RerankModel)
    assert model.adapter == "hf:org/adapter"
    assert refused(adapter)[0].startswith("models.m.adapter_revision: is missing")
    assert refused(FOLDER + f'adapter = "dir:a"\nadapter_revision = "{COMMIT}"') == [
        "models.m.adapter_revision: is only for hf: sources (remove it)"
    ]


@pytest.mark.parametrize("setting", ['pooling = "mean"', 'query_prompt = "q: "', 'document_prompt = "d: "'])
def test_cross_encoder_has_no_settings_of_a_bi_encoder(
    accepted: Accepted, refused: Refused, setting: str
) -> None:
    """They would do nothing, and whoever wrote them believes they do."""
    accepted(FOLDER + f'kind = "bi-encoder"\n{setting}')

    name, *_ = setting.split()
    assert refused(FOLDER + setting) == [
        f'models.m.{name}: is only for kind = "bi-encoder" (remove it, or set the kind)'
    ]


@pytest.mark.parametrize(
    "name",
    ["/m/model.onnx", "../model.onnx", "onnx/../../m.onnx", "model.safetensors", "onnx", "", "a\\\\b.onnx"],
)
def test_graph_is_named_within_the_models_folder(accepted: Accepted, refused: Refused, name: str) -> None:
    """What decides answers comes from the source, which is pinned and hashed, and from nowhere else."""
    model = accepted(FOLDER + 'onnx_file = "onnx/model.onnx"').models["m"]
    assert isinstance(model, RerankModel)
    assert model.onnx_file == "onnx/model.onnx"
    assert refused(FOLDER + f'onnx_file = "{name}"') == [
        "models.m.onnx_file: must be the path of an .onnx file inside the model's folder "
        '(name it relative to the folder, for example "onnx/model.onnx")'
    ]


@pytest.mark.parametrize("setting", ["build = true", 'adapter = "dir:a"'])
def test_graph_is_either_built_or_ready_made(refused: Refused, setting: str) -> None:
    """An adapter is merged while building: it can do nothing for an .onnx file."""
    (problem,) = refused(FOLDER + f'onnx_file = "model.onnx"\n{setting}')

    assert problem.startswith("models.m.build: contradicts onnx_file")


def test_token_of_the_hub_is_a_reference_to_a_secret(refused: Refused) -> None:
    """A token in the file would end up in a repository."""
    assert refused('[hub]\ntoken = "hf_abc"') == [
        "hub.token: must refer to a secret as env:NAME or file:/path, not contain it"
    ]
    assert refused('[hub]\ntoken = "env:NO_SUCH_TOKEN"')[0].startswith(
        "hub.token: env:NO_SUCH_TOKEN is not set"
    )
