"""sentence-transformers' CrossEncoder, run by an interpreter that has it; `benchmarks.reference` starts it.

It imports nothing of this project, which that interpreter need not have. It answers one line of JSON for each
line of JSON on standard input, after a first line that says what it is or why it cannot be.

usage: cross_encoder.py MODEL_FOLDER MAX_TOKENS THREADS
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any

WARM_UP = [("What warms up?", "Threads and memory do, so that the first measured pairs find them.")] * 32


def main() -> None:
    """Time `{"pairs": [[a, b], …], "batch_size": n}` as `{"seconds": s}`, until standard input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(
        sys.stderr.fileno(), sys.stdout.fileno()
    )  # libraries may print; answers go where nothing else does

    def answer(**content: object) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    folder, max_tokens, threads = sys.argv[1:]
    try:
        torch: Any = importlib.import_module("torch")
        library: Any = importlib.import_module("sentence_transformers")
    except ImportError as error:
        answer(problem=f"the interpreter given by --reference-python: {error}")
        return
    torch.set_num_threads(int(threads))
    encoder = library.CrossEncoder(folder, max_length=int(max_tokens), device="cpu")
    encoder.predict(WARM_UP, show_progress_bar=False)
    answer(name=f"sentence-transformers {library.__version__}, torch {torch.__version__}")
    for line in sys.stdin:
        asked = json.loads(line)
        pairs = [tuple(pair) for pair in asked["pairs"]]
        began = time.perf_counter()
        encoder.predict(pairs, batch_size=asked["batch_size"], show_progress_bar=False)
        answer(seconds=time.perf_counter() - began)


if __name__ == "__main__":
    main()
