"""How a download is put into words."""

from __future__ import annotations

from services.artifacts.hub import Sentences
from services.artifacts.hub_client import Transfer


def test_every_file_is_named_at_its_start_and_then_twice_a_second_at_most() -> None:
    """Downloads tell of every piece that arrives; who listens may keep the last sentence in a status."""
    told: list[str] = []
    now = 100.0
    sentences = Sentences(told.append, lambda: now)

    for name in ("tokenizer.json", "model.safetensors"):
        for received in range(0, 91_000_001, 1_000_000):
            now = 100.0 + received / 80_000_000  # 91 MB take a little more than a second
            sentences.transfer(Transfer(name, received, 91_000_000))

    assert told == [
        "downloading tokenizer.json, 0 of 91 MB",
        "downloading tokenizer.json, 40 of 91 MB",
        "downloading tokenizer.json, 80 of 91 MB",
        "downloading model.safetensors, 0 of 91 MB",
        "downloading model.safetensors, 40 of 91 MB",
        "downloading model.safetensors, 80 of 91 MB",
    ]


def test_small_files_are_only_named() -> None:
    """Nobody watches a few kilobytes."""
    told: list[str] = []

    Sentences(told.append).transfer(Transfer("config.json", 0, 600))

    assert told == ["downloading config.json"]


def test_notes_are_passed_on_as_they_are() -> None:
    """They are rare, and each says something else."""
    told: list[str] = []
    sentences = Sentences(told.append)

    sentences.note("using what is here")
    sentences.note("using what is here")

    assert told == ["using what is here"] * 2
