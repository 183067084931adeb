"""Which files are chosen from a listing; a folder on disk is read by the same rules."""

from __future__ import annotations

import pytest

from services.artifacts import BUILDABLE, ArtifactProblem, Wanted
from services.artifacts.hub_selection import check_buildable, choose_files

MODEL = ("config.json", "tokenizer.json", "model.safetensors")
WANTED = Wanted("hf:org/model")


def test_small_files_come_first() -> None:
    """What can be wrong with them is known before anything large is fetched."""
    names = {*MODEL, "1_Pooling/config.json", "sentence_bert_config.json", "modules.json"}

    assert choose_files("here", names, WANTED) == [
        "config.json",
        "tokenizer.json",
        "1_Pooling/config.json",
        "sentence_bert_config.json",
        "model.safetensors",
    ]


def test_graph_needs_no_config() -> None:
    """A ready-made graph says itself what it computes."""
    assert choose_files("here", {"tokenizer.json", "x.onnx"}, WANTED) == ["tokenizer.json", "x.onnx"]


@pytest.mark.parametrize("name", ["deep/er/model.onnx", "openvino/model.onnx", "onnx/deep/model.onnx"])
def test_graphs_elsewhere_are_not_found_but_can_be_named(name: str) -> None:
    """Folders of other formats hold graphs for other engines."""
    names = {*MODEL, name}

    assert choose_files("here", names, WANTED)[-1] == "model.safetensors"
    assert choose_files("here", names, Wanted("hf:org/model", onnx_file=name))[-1] == name


@pytest.mark.parametrize("data", ["model.onnx.data", "model.onnx_data", "model.onnx_data_1"])
def test_data_of_a_graph_is_found_by_its_name(data: str) -> None:
    """Exporters differ in what they put behind the name of the graph."""
    names = {*MODEL, "onnx/model.onnx", f"onnx/{data}", data, "onnx/other.txt", "onnx/model.onnx_data/x"}

    assert choose_files("here", names, WANTED)[2:] == ["onnx/model.onnx", f"onnx/{data}"]


@pytest.mark.parametrize("architecture", BUILDABLE)
def test_architectures_that_can_be_built_pass(architecture: str) -> None:
    """All that the builder knows."""
    check_buildable("here", {"model_type": architecture}, WANTED)


@pytest.mark.parametrize("config", [{}, {"model_type": None}, {"model_type": ["bert"]}, {"model_type": "t5"}])
def test_other_architectures_are_refused(config: dict[str, object]) -> None:
    """Whatever a file says, the message lists what would do."""
    with pytest.raises(
        ArtifactProblem, match=r"^here has no \.onnx file.*bert, camembert, roberta, xlm-roberta;"
    ):
        check_buildable("here", config, WANTED)
