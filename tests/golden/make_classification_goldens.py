"""Compute the logits that our models must answer, with the libraries that define them, in fp32.

Neither the product nor its tests need those libraries, so this is run by hand, from the repository's
root, when the pairs or the cases in `tests/support/classification.py` change:

    python -m venv <folder>
    <folder>/bin/pip install torch transformers sentence-transformers peft onnx onnxscript
    <folder>/bin/python -m tests.golden.make_classification_goldens

It writes `classification.npz`, with the versions of the libraries in it. Each pair is run in a batch of its
own, so that no padding takes part. In the order of `PAIRS`, unless said otherwise:

    <family>-<labels>/logits    by transformers, [pairs, labels]
    <family>-<labels>/sigmoid   scores by sentence-transformers' CrossEncoder
    <family>-<labels>/identity  the same without an activation
    <family>-<labels>/weights   some of the model's weights
    <family>/mean, <family>/cls embeddings of `TEXTS` by transformers, not normalized
    adapter-<case>/logits       by PEFT, the adapter beside the model
    adapter-<case>/merged       by PEFT, the adapter merged into it
    deberta/logits              by transformers

It also writes what the last two are computed from and numpy cannot draw: the adapters as PEFT saves them,
`adapters/<case>/`, and `deberta/`, a small DeBERTa-v3 that torch has exported to ONNX.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

# These are in no extra of this project, see above.
import peft  # type: ignore[import-not-found]
import sentence_transformers  # type: ignore[import-not-found]
import torch  # type: ignore[import-not-found]
import transformers  # type: ignore[import-not-found]
from numpy.typing import NDArray
from tokenizers import processors

from tests.support import classification as cases
from tests.support.tiny_roberta import save, unigram

Arrays = dict[str, NDArray[Any]]

DEBERTA_SPECIALS: Final = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]")
AGREEMENT: Final = 1e-5

INPUTS: Final = {
    "[PAD]": ["input_ids", "token_type_ids", "attention_mask"],
    "<pad>": ["input_ids", "attention_mask"],
}
"""What the tokenizers of the families return, by their padding token."""

PADDING: Final = {"bert": "[PAD]", "roberta": "<pad>", "xlm-roberta": "<pad>"}


def tokenizer_of(folder: Path, padding: str) -> Any:
    """Return the tokenizer of a folder, and tell the folder what the libraries want to know of it."""
    content = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": cases.MAX_TOKENS,
        "pad_token": padding,
        "model_input_names": INPUTS[padding],
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(content), encoding="utf-8")
    return transformers.AutoTokenizer.from_pretrained(folder)


def numbers(tensor: Any) -> NDArray[np.float32]:
    """Return a tensor of torch as an array."""
    return np.asarray(tensor.detach().numpy(), dtype=np.float32)


def logits(model: Any, tokenizer: Any) -> NDArray[np.float32]:
    """Return what a model answers for each of `PAIRS`, one at a time."""
    rows = []
    for pair in cases.PAIRS:
        batch = tokenizer(*pair, truncation="longest_first", return_tensors="pt")
        with torch.inference_mode():
            rows.append(numbers(model(**batch).logits[0]))
    return np.stack(rows)


def load(kind: Any, folder: Path, **options: Any) -> Any:
    """Load a model in fp32, ready to answer."""
    options = {"dtype": torch.float32, "attn_implementation": "eager", **options}
    return kind.from_pretrained(folder, **options).eval()


def classifiers(scratch: Path) -> Arrays:
    """Return the arrays of models with heads, by transformers and by sentence-transformers."""
    arrays: Arrays = {}
    for family, write in cases.FAMILIES.items():
        for labels in cases.LABELS:
            name = f"{family}-{labels}"
            folder = write(scratch / name, labels=labels)
            tokenizer = tokenizer_of(folder, PADDING[family])
            model = load(transformers.AutoModelForSequenceClassification, folder)
            arrays[f"{name}/logits"] = logits(model, tokenizer)
            arrays[f"{name}/weights"] = cases.last_weights(folder)
            arrays |= {f"{name}/{kind}": scores for kind, scores in cross_encoder(folder).items()}
            check(arrays[f"{name}/identity"], arrays[f"{name}/logits"], name)
    return arrays


def cross_encoder(folder: Path) -> Arrays:
    """Return what sentence-transformers' CrossEncoder predicts, [pairs, labels] even for one label."""
    model = sentence_transformers.CrossEncoder(str(folder), device="cpu", local_files_only=True)
    activations = {"sigmoid": torch.nn.Sigmoid(), "identity": torch.nn.Identity()}
    return {
        name: np.stack([model.predict([pair], activation_fn=one).reshape(-1) for pair in cases.PAIRS])
        for name, one in activations.items()
    }


def check(scores: NDArray[np.float32], expected: NDArray[np.float32], name: str) -> None:
    """Stop where two libraries do not compute the same."""
    difference = float(np.abs(scores - expected).max())
    assert difference < AGREEMENT, f"{name}: two libraries differ by {difference}"


def embeddings(scratch: Path) -> Arrays:
    """Return the embeddings of `TEXTS` by the RoBERTa family."""
    arrays: Arrays = {}
    for family in ("roberta", "xlm-roberta"):
        folder = cases.FAMILIES[family](scratch / f"{family}-encoder")
        tokenizer = tokenizer_of(folder, PADDING[family])
        model = load(transformers.AutoModel, folder, add_pooling_layer=False)
        hidden = []
        for text in cases.TEXTS:
            batch = tokenizer(text, truncation=True, return_tensors="pt")
            with torch.inference_mode():
                hidden.append(numbers(model(**batch).last_hidden_state[0]))
        arrays[f"{family}/mean"] = np.stack([one.mean(axis=0) for one in hidden])
        arrays[f"{family}/cls"] = np.stack([one[0] for one in hidden])
    return arrays


def adapters(scratch: Path) -> Arrays:
    """Make the adapters, and return what PEFT computes with them."""
    arrays: Arrays = {}
    for name, case in cases.ADAPTER_CASES.items():
        base = case.write_base(scratch / f"adapter-{name}")
        tokenizer = tokenizer_of(base, PADDING[case.family])
        write_adapter(cases.ADAPTERS / name, base, case)
        model = load(transformers.AutoModelForSequenceClassification, base)
        plain = logits(model, tokenizer)
        model = peft.PeftModel.from_pretrained(model, cases.ADAPTERS / name).eval()
        arrays[f"adapter-{name}/logits"] = logits(model, tokenizer)
        arrays[f"adapter-{name}/merged"] = logits(model.merge_and_unload(), tokenizer)
        changed = np.abs(arrays[f"adapter-{name}/logits"] - plain).max(axis=0)
        assert changed.min() > 0.1, f"{name} changes little: {changed}"
    return arrays


def write_adapter(folder: Path, base: Path, case: cases.AdapterCase) -> None:
    """Let PEFT save an adapter with random numbers in all that it trains."""
    model = load(transformers.AutoModelForSequenceClassification, base)
    torch.manual_seed(len(case.options))
    model = peft.get_peft_model(model, peft.LoraConfig(task_type="SEQ_CLS", **case.options))
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.3 * torch.randn(parameter.shape)
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "README.md").unlink()
    (folder / "adapter_model.safetensors").chmod(0o644)
    file = folder / "adapter_config.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["base_model_name_or_path"] = None  # it is a folder of this machine
    for name in ("modules_to_save", "target_modules"):  # they are sets there
        content[name] = sorted(content[name])
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def deberta() -> Arrays:
    """Export a small DeBERTa-v3, and return what it computes."""
    folder = cases.DEBERTA
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    library = unigram(DEBERTA_SPECIALS, unknown="[UNK]")
    library.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    save(library, folder / "tokenizer.json", DEBERTA_SPECIALS)
    tokenizer = tokenizer_of(folder, "[PAD]")
    (folder / "tokenizer_config.json").unlink()
    torch.manual_seed(0)
    config = deberta_config(library.get_vocab_size())
    (folder / "config.json").write_text(config.to_json_string(), encoding="utf-8")
    model = transformers.DebertaV2ForSequenceClassification(config).eval()
    export(model, tokenizer, folder / "model.onnx")
    return {"deberta/logits": logits(model, tokenizer)}


def deberta_config(vocabulary: int) -> Any:
    """Return a configuration like that of DeBERTa-v3's published NLI models, only smaller."""
    names = ("entailment", "neutral", "contradiction")
    return transformers.DebertaV2Config(
        vocab_size=vocabulary,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=cases.MAX_TOKENS,
        type_vocab_size=0,
        relative_attention=True,
        position_buckets=16,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        layer_norm_eps=1e-7,
        initializer_range=0.3,
        pooler_hidden_size=32,
        id2label=dict(enumerate(names)),
        label2id={name: index for index, name in enumerate(names)},
    )


def export(model: Any, tokenizer: Any, path: Path) -> None:
    """Export a model to ONNX, for batches of any size and length."""
    pairs = [list(texts) for texts in zip(*cases.PAIRS[4:6], strict=True)]
    batch = tokenizer(*pairs, padding=True, return_tensors="pt")
    names = ["input_ids", "attention_mask"]
    torch.onnx.export(
        model,
        tuple(batch[name] for name in names),
        path,
        input_names=names,
        output_names=["logits"],
        dynamic_axes={name: {0: "batch", 1: "tokens"} for name in names} | {"logits": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )


def write(arrays: Arrays) -> None:
    """Write arrays with the versions that they come from."""
    libraries: Sequence[Any] = (torch, transformers, sentence_transformers, peft)
    versions = [f"{library.__name__} {library.__version__}" for library in libraries]
    path = cases.CLASSIFICATION_FILE
    np.savez_compressed(path, allow_pickle=False, versions=np.array(versions), **arrays)
    print(f"{path.name}: {path.stat().st_size // 1000} kB, {', '.join(versions)}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as created:
        place = Path(created)
        write({**classifiers(place), **embeddings(place), **adapters(place), **deberta()})
