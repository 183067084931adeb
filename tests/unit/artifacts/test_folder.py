from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.artifacts import ArtifactProblem, Origins, Wanted, examine, locate
from services.config import RerankModel
from services.inference.loading import embedding_recipe, reranking_recipe
from tests.support.engine_parts import section
from tests.support.tiny import write_model

CROSS_ENCODER = RerankModel(capability="rerank", source="dir:anywhere")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole model folder."""
    return write_model(tmp_path / "model")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An importable package with a model in it, which must not be imported."""
    home = tmp_path / "site" / "some_model"
    write_model(home / "inside")
    (home / "__init__.py").write_text("raise RuntimeError('imported')", encoding="utf-8")
    (tmp_path / "site" / "plain_module.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield "some_model"
    assert "some_model" not in sys.modules


def find(source: str, base: Path) -> Path:
    """Locate a folder that needs no download."""
    return locate(Wanted(source), Origins(base, base / "cache"))


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_package_source_is_a_folder_inside_an_installed_package(tmp_path: Path, package: str) -> None:
    """The package is found, not imported: no code of it runs."""
    found = find(f"package:{package}/inside", tmp_path)

    assert found == tmp_path / "site" / "some_model" / "inside"
    assert examine(found, None).architecture == "bert"


def test_package_without_a_folder_is_the_package_itself(tmp_path: Path, package: str) -> None:
    """Some packages are nothing but a model."""
    assert find(f"package:{package}", tmp_path) == tmp_path / "site" / "some_model"


@pytest.mark.parametrize(
    "name", ["no_such_package", "plain_module", "not-an-identifier", "os.path", "__main__", ""]
)
@pytest.mark.usefixtures("package")
def test_missing_package_is_named(tmp_path: Path, name: str) -> None:
    """The commonest cause is an extra that was not installed."""
    with pytest.raises(ArtifactProblem, match=f"^the Python package {name} is not installed$"):
        find(f"package:{name}/inside", tmp_path)


def test_missing_folder_inside_a_package_is_named(tmp_path: Path, package: str) -> None:
    """Another version of the package may have it elsewhere."""
    with pytest.raises(ArtifactProblem, match=r"there is no folder .*some_model/elsewhere"):
        find(f"package:{package}/elsewhere", tmp_path)


def test_relative_folders_start_at_the_base(tmp_path: Path, folder: Path) -> None:
    """Which is where the configuration file is, not where the process was started."""
    assert find("dir:model", tmp_path) == folder
    assert find(f"dir:{folder}", Path("/")) == folder


def test_home_directories_are_understood(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path
) -> None:
    """`dir:~/models/x` is what people write."""
    monkeypatch.setenv("HOME", str(tmp_path))

    assert find("dir:~/model", Path("/")) == folder


@pytest.mark.parametrize("name", ["nowhere", "model/tokenizer.json"])
@pytest.mark.usefixtures("folder")
def test_missing_folder_is_named(tmp_path: Path, name: str) -> None:
    """A file is no folder either."""
    with pytest.raises(ArtifactProblem, match=f"^there is no folder {tmp_path / name}$"):
        find(f"dir:{name}", tmp_path)


def test_whole_folder_is_described(folder: Path) -> None:
    """All that a model's files say is read once, at the start."""
    artifacts = examine(folder, None)

    assert artifacts.graph is None
    assert artifacts.weights == folder / "model.safetensors"
    assert artifacts.architecture == "bert"
    assert artifacts.positions == 64
    assert artifacts.pooling == "mean"
    assert artifacts.max_tokens == 64


def test_files_that_decide_answers_are_hashed(folder: Path) -> None:
    """The hashes are part of the fingerprint that caches go by."""
    artifacts = examine(folder, None)

    assert artifacts.sha256 == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ("tokenizer.json", "config.json", "model.safetensors")
    }


def test_only_the_files_that_are_used_are_hashed(folder: Path) -> None:
    """Weights beside a ready-made graph are not read, so they cannot change an answer."""
    (folder / "model.onnx").write_bytes(b"graph")

    assert set(examine(folder, None).sha256) == {"tokenizer.json", "config.json", "model.onnx"}


@pytest.mark.parametrize("name", ["model.onnx_data", "model.onnx.data"])
def test_external_data_of_a_graph_is_hashed_too(folder: Path, name: str) -> None:
    """The weights of large graphs lie beside them, under one of these names."""
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(b"graph")
    (folder / "onnx" / name).write_bytes(b"weights")

    assert set(examine(folder, None).sha256) >= {"onnx/model.onnx", f"onnx/{name}"}


def test_missing_tokenizer_is_named(folder: Path) -> None:
    """Without one there is no way from text to tokens."""
    (folder / "tokenizer.json").unlink()

    with pytest.raises(ArtifactProblem, match=r"model has no tokenizer.json$"):
        examine(folder, None)


@pytest.mark.parametrize("name", ["model.onnx", "onnx/model.onnx", "onnx/model_qint8.onnx", "minilm.onnx"])
def test_single_onnx_file_is_used_whatever_its_name(folder: Path, name: str) -> None:
    """A ready-made graph goes before building one."""
    (folder / "onnx").mkdir()
    (folder / name).write_bytes(b"graph")

    artifacts = examine(folder, None)

    assert artifacts.graph == folder / name
    assert artifacts.weights is None


@pytest.mark.parametrize("usual", ["model.onnx", "onnx/model.onnx"])
def test_usual_name_wins_among_several_onnx_files(folder: Path, usual: str) -> None:
    """Hubs keep variations for other processors beside it."""
    (folder / "onnx").mkdir()
    for name in (usual, "onnx/model_O3.onnx", "onnx/model_qint8.onnx"):
        (folder / name).write_bytes(b"graph")

    assert examine(folder, None).graph == folder / usual


def test_several_onnx_files_without_the_usual_name_must_be_chosen_from(folder: Path) -> None:
    """Guessing could take a quantized one, whose answers differ."""
    for name in ("b.onnx", "a.onnx"):
        (folder / name).write_bytes(b"graph")

    with pytest.raises(
        ArtifactProblem, match=r"several .onnx files \(a.onnx, b.onnx\); say which with onnx_file"
    ):
        examine(folder, None)
    assert examine(folder, "b.onnx").graph == folder / "b.onnx"


def test_chosen_onnx_file_must_exist(folder: Path) -> None:
    """Falling back to another one would run something that nobody asked for."""
    (folder / "model.onnx").write_bytes(b"graph")

    with pytest.raises(ArtifactProblem, match=r"model has no other.onnx; it has model.onnx$"):
        examine(folder, "other.onnx")


@pytest.mark.parametrize("pickle", ["pytorch_model.bin", "model.pt", "model.bin"])
def test_pickles_are_refused_with_a_hint(folder: Path, pickle: str) -> None:
    """Loading a pickle runs whatever code it holds."""
    (folder / "model.safetensors").rename(folder / pickle)

    with pytest.raises(
        ArtifactProblem, match=r"has no model.safetensors or .onnx file; pickle files are not"
    ):
        examine(folder, None)


def test_folder_without_weights_says_what_it_lacks(folder: Path) -> None:
    """No hint at pickles where there are none."""
    (folder / "model.safetensors").unlink()

    with pytest.raises(ArtifactProblem, match=r"has no model.safetensors or .onnx file$"):
        examine(folder, None)


def test_weights_without_a_config_say_what_they_lack(folder: Path) -> None:
    """The shape of the graph is in config.json."""
    (folder / "config.json").unlink()

    with pytest.raises(ArtifactProblem, match=r"has no config.json$"):
        examine(folder, None)


@pytest.mark.parametrize("name", ["config.json", "1_Pooling/config.json", "sentence_bert_config.json"])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"a": ', "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"[1]", "does not hold a JSON object"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "cannot be read"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "cannot be read"),
    ],
    ids=["broken", "bytes", "list", "deep", "huge number"],
)
def test_damaged_json_is_a_problem_that_names_the_file(
    folder: Path, name: str, content: bytes, told: str
) -> None:
    """Ignoring it would serve the model with other settings than it has."""
    (folder / name).write_bytes(content)

    with pytest.raises(ArtifactProblem, match=f"^{Path(name).name} {told}"):
        examine(folder, None)


@pytest.mark.parametrize("pooling", ["cls", "mean", "last_token"])
def test_pooling_is_read_from_the_models_folder(tmp_path: Path, pooling: str) -> None:
    """The flags that are false stand in the file as well."""
    folder = write_model(tmp_path / "model", pooling=pooling)
    path = folder / "1_Pooling" / "config.json"
    chosen = json.loads(path.read_text(encoding="utf-8"))
    others = dict.fromkeys(("pooling_mode_max_tokens", "pooling_mode_weightedmean_tokens"), False)
    write_json(path, {"word_embedding_dimension": 32, **others, **chosen, "include_prompt": True})

    assert examine(folder, None).pooling == pooling


def test_pooling_is_unknown_without_the_file(tmp_path: Path) -> None:
    """Then the configuration has to say it; nothing is assumed."""
    assert examine(write_model(tmp_path / "model", pooling=None), None).pooling is None


@pytest.mark.parametrize(
    "flags", [["max_tokens"], ["mean_tokens", "cls_token"], ["mean_tokens", "weightedmean_tokens"], []]
)
def test_pooling_that_is_not_known_is_told_to_models_that_need_it(folder: Path, flags: list[str]) -> None:
    """Two at once are another embedding; sections that say how to pool, and cross-encoders, need not mind."""
    path = folder / "1_Pooling" / "config.json"
    write_json(path, {"pooling_mode_lasttoken": False, **{f"pooling_mode_{flag}": True for flag in flags}})

    artifacts = examine(folder, None)

    assert artifacts.pooling is None
    told = r"^1_Pooling/config.json asks for a pooling that is not known; set pooling$"
    with pytest.raises(ArtifactProblem, match=told):
        embedding_recipe.purpose(section("dir:anywhere"), artifacts)
    assert embedding_recipe.purpose(section("dir:anywhere", pooling="cls"), artifacts).pooling == "cls"
    assert reranking_recipe.purpose(CROSS_ENCODER, artifacts).pooling is None


@pytest.mark.parametrize(
    ("said", "limit"), [({"max_seq_length": 48}, 48), ({"max_seq_length": None}, 64), ({}, 64)]
)
def test_longest_input_is_what_the_folder_says(folder: Path, said: dict[str, Any], limit: int) -> None:
    """Models are often trained on shorter texts than they have positions for."""
    write_json(folder / "sentence_bert_config.json", said)

    assert examine(folder, None).max_tokens == limit


@pytest.mark.parametrize("odd", [[1], {"a": 1}, None, True, 1.5, float("inf"), "bert"])
def test_settings_of_another_type_than_they_should_be_say_nothing(folder: Path, odd: Any) -> None:
    """Files come from anywhere; what cannot be meant must not end in a bug."""
    write_json(folder / "config.json", dict.fromkeys(("model_type", "max_position_embeddings"), odd))
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": odd})
    write_json(folder / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": odd})

    artifacts = examine(folder, None)

    assert artifacts.architecture == (odd if isinstance(odd, str) else "")
    assert (artifacts.positions, artifacts.max_tokens) == (None, None)


def test_longest_input_is_unknown_where_nothing_says_it(tmp_path: Path) -> None:
    """A ready-made graph may come with nothing but its tokenizer."""
    folder = write_model(tmp_path / "model", pooling=None)
    (folder / "config.json").unlink()
    (folder / "model.onnx").write_bytes(b"graph")

    artifacts = examine(folder, None)

    assert artifacts.max_tokens is None
    assert artifacts.positions is None
    assert artifacts.architecture == ""
