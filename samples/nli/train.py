"""Trains the sample adapter: LoRA and a three-way head over all-MiniLM-L6-v2, on the CPU.

From the repository's root, with what `README.md` says installed:

    python samples/nli/train.py <folder of all-MiniLM-L6-v2>
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

# These are in no extra of this project, see above.
import peft  # type: ignore[import-not-found]
import safetensors.torch
import torch  # type: ignore[import-not-found]
import transformers  # type: ignore[import-not-found]

from samples.nli import data
from samples.nli.data import LABELS, Example

ADAPTER: Final = Path(__file__).parent / "adapter"
BASE_NAME: Final = "all-MiniLM-L6-v2"
SEED: Final = 7
EPOCHS: Final = 4
BATCH: Final = 32
LORA_RATE: Final = 7e-4
HEAD_RATE: Final = 2e-4
WARMUP: Final = 0.06
HAND_WEIGHT: Final = 2
# How much of what is generated one epoch shows.
GENERATED_SHARE: Final = 0.4
SMOOTHING: Final = 0.05
RANK: Final = 12
TARGETS: Final = ["query", "key", "value", "output.dense", "intermediate.dense"]
WHOLE: Final = ["classifier", "pooler"]
MAX_TOKENS: Final = 128
REPORT_EVERY: Final = 200


def build(folder: Path) -> Any:
    """Return the model with an adapter to train.

    Args:
        folder: The base model's folder.
    """
    base = transformers.BertForSequenceClassification.from_pretrained(
        folder, num_labels=len(LABELS), attention_probs_dropout_prob=0.0
    )
    config = peft.LoraConfig(
        task_type="SEQ_CLS", r=RANK, lora_alpha=2 * RANK, lora_dropout=0.0, target_modules=TARGETS,
        modules_to_save=[*WHOLE],
    )  # fmt: skip
    return peft.get_peft_model(base, config)


def batches(examples: list[Example], rng: random.Random) -> list[list[Example]]:
    """Return the examples in batches of about the same length, in random order.

    Args:
        examples: What one epoch shows.
        rng: Where the order comes from.
    """
    keyed = sorted(examples, key=lambda e: len(e.premise) + len(e.hypothesis) + rng.random() * 20)
    found = [keyed[start : start + BATCH] for start in range(0, len(keyed), BATCH)]
    rng.shuffle(found)
    return found


def epoch(generated: list[Example], written: list[Example], rng: random.Random) -> list[Example]:
    """Return what one epoch shows: some of what is generated, all that is by hand, and what follows from it.

    Args:
        generated: The generated pairs.
        written: The pairs written by hand.
        rng: Where every choice comes from.
    """
    some = rng.sample(generated, int(GENERATED_SHARE * len(generated)))
    shown = some + written * HAND_WEIGHT
    shown += data.augmented(some, rng, len(some) // 20)
    shown += data.augmented(written, rng, len(written) // 4)
    return [data.roughened(example, rng) for example in shown]


def encode(tokenizer: Any, batch: list[Example]) -> Any:
    """Return a batch as the model takes it.

    Args:
        tokenizer: The base model's.
        batch: The examples.
    """
    return tokenizer(
        [e.premise for e in batch], [e.hypothesis for e in batch], padding=True, truncation=True,
        max_length=MAX_TOKENS, return_tensors="pt",
    )  # fmt: skip


def accuracy(model: Any, tokenizer: Any, examples: list[Example]) -> float:
    """Return how many of the examples the model labels rightly.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        examples: What it is asked.
    """
    model.eval()
    right = 0
    ordered = sorted(examples, key=lambda e: len(e.premise) + len(e.hypothesis))
    with torch.inference_mode():
        for start in range(0, len(ordered), 64):
            batch = ordered[start : start + 64]
            chosen = model(**encode(tokenizer, batch)).logits.argmax(dim=1)
            right += int((chosen == torch.tensor([e.label for e in batch])).sum())
    model.train()
    return right / max(1, len(ordered))


def optimizer_for(model: Any, steps: int) -> tuple[Any, Any]:
    """Return the optimizer and its schedule.

    Args:
        model: The model with its adapter.
        steps: How many batches there will be.
    """
    lora = [p for name, p in model.named_parameters() if p.requires_grad and "lora_" in name]
    head = [p for name, p in model.named_parameters() if p.requires_grad and "lora_" not in name]
    groups = [{"params": lora, "lr": LORA_RATE}, {"params": head, "lr": HEAD_RATE}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    schedule = transformers.get_cosine_schedule_with_warmup(optimizer, int(WARMUP * steps), steps)
    return optimizer, schedule


def train(model: Any, tokenizer: Any, epochs: int) -> None:
    """Train the adapter, saying now and then how far it is.

    Args:
        model: The model with its adapter.
        tokenizer: The base model's.
        epochs: How often everything is shown.
    """
    rng = random.Random(SEED)
    generated, (written, dev) = data.generated("train"), data.handwritten()
    first = epoch(generated, written, rng)
    steps = epochs * (len(first) // BATCH + 1)
    say(f"{len(generated)} generated, {len(written)} by hand, {len(dev)} to choose with, {steps} batches")
    optimizer, schedule = optimizer_for(model, steps)
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=SMOOTHING)
    model.train()
    done, total = 0, 0.0
    for batch in stream(first, epochs, (generated, written), rng):
        labels = torch.tensor([example.label for example in batch])
        loss = loss_of(model(**encode(tokenizer, batch)).logits, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        done, total = done + 1, total + loss.item()
        if done % REPORT_EVERY == 0:
            say(f"batch {done}: loss {total / REPORT_EVERY:.3f}, {time.process_time():.0f} s processor time")
            total = 0.0
            if done % (2 * REPORT_EVERY) == 0:
                say(f"  by hand, held back: {accuracy(model, tokenizer, dev):.3f}")
                save(model)
    say(f"by hand, held back: {accuracy(model, tokenizer, dev):.3f}")


def stream(
    first: list[Example], epochs: int, parts: tuple[list[Example], list[Example]], rng: random.Random
) -> Iterator[list[Example]]:
    """Yield the batches of all epochs.

    Args:
        first: What the first epoch shows.
        epochs: How many there are.
        parts: The generated pairs and those written by hand, for the others.
        rng: Where every choice comes from.
    """
    yield from batches(first, rng)
    for _ in range(epochs - 1):
        yield from batches(epoch(*parts, rng), rng)


def save(model: Any) -> None:
    """Write the adapter, its tensors in half precision.

    Args:
        model: The trained model.
    """
    ADAPTER.mkdir(exist_ok=True)
    tensors = {
        name: t.detach().half().contiguous() for name, t in peft.get_peft_model_state_dict(model).items()
    }
    content = safetensors.torch.save(tensors, metadata={"format": "pt"})
    (ADAPTER / "adapter_model.safetensors").write_bytes(content)
    entries = model.peft_config["default"].to_dict()
    # The path of the base model is this machine's own; of the modules peft has added some, as it does again.
    entries |= {"base_model_name_or_path": BASE_NAME, "inference_mode": True, "modules_to_save": WHOLE}
    plain = {name: sorted(value) if isinstance(value, set) else value for name, value in entries.items()}
    write("adapter_config.json", plain)
    names = {str(index): label for index, label in enumerate(LABELS)}
    write("config.json", {
        "model_type": "bert", "architectures": ["BertForSequenceClassification"], "num_labels": len(LABELS),
        "id2label": names, "label2id": {label: index for index, label in enumerate(LABELS)},
    })  # fmt: skip


def write(name: str, content: dict[str, Any]) -> None:
    """Write a JSON file into the adapter's folder.

    Args:
        name: The file's name.
        content: What goes into it.
    """
    (ADAPTER / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def say(line: str) -> None:
    """Write a line at once.

    Args:
        line: The line.
    """
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description="Train the sample NLI adapter.")
    parser.add_argument("base", type=Path, help="the folder of all-MiniLM-L6-v2")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(chosen.threads)
    tokenizer = transformers.AutoTokenizer.from_pretrained(chosen.base)
    model = build(chosen.base)
    train(model, tokenizer, chosen.epochs)
    save(model)
    say(f"{time.process_time():.0f} s of processor time")


if __name__ == "__main__":
    main()
