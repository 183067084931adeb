"""sentence-transformers' `CrossEncoder.predict` on the same pairs, in a process of another interpreter.

PyTorch stays out of this environment, so the interpreter is named on the command line. `predict` gets all
pairs in one call, which serves it best: it sorts them by length before it makes batches.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Final

from benchmarks.roofline import Items
from services.config import environment
from services.inference.cpus import usable_cpus

SCRIPT: Final = Path(__file__).with_name("cross_encoder.py")
DEFAULT_BATCH_SIZE: Final = 32
BATCH_SIZES: Final = (8, 16, 32, 64)


class Reference:
    """A CrossEncoder in a process of its own, or the reason why there is none.

    Args:
        python: An interpreter that has sentence-transformers; None if none was named.
        model: Folder of the model.
        max_tokens: Where pairs are cut.
        log: Where the process writes what is not an answer.

    Attributes:
        name: What is measured, with versions; empty if nothing is.
        problem: Why nothing is measured; empty if something is.
    """

    def __init__(self, python: Path | None, model: Path, max_tokens: int, log: Path) -> None:
        self.name, self.problem = "", "not measured: no --reference-python"
        self._sizes = [DEFAULT_BATCH_SIZE]
        self._process: subprocess.Popen[str] | None = None
        if python is None:
            return
        # Isolated: neither this folder's modules nor this environment's packages get in its way.
        command = [str(python), "-I", str(SCRIPT), str(model), str(max_tokens), str(usable_cpus())]
        try:
            with log.open("w", encoding="utf-8") as errors:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                    encoding="utf-8",
                    env=environment.child_environment(HF_HUB_OFFLINE="1"),
                )
        except OSError as error:
            self.problem = f"not measured: --reference-python cannot be run ({error.strerror})"
            return
        said = self._read()
        self.name = said.get("name", "")
        self.problem = "" if self.name else f"not measured: {said.get('problem', _last_line(log))}"

    def __enter__(self) -> Reference:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.communicate()  # closes its standard input, at which it ends

    @property
    def best_batch_size(self) -> int:
        """Which batch size was fastest."""
        return self._sizes[-1]

    def narrow_down(self, items: Items) -> dict[str, float]:
        """Keep the default batch size and the fastest; return the rate of each that was tried."""
        if self.problem:
            return {}
        rates = {size: len(items) / self._seconds(items, size) for size in BATCH_SIZES}
        self._sizes = list(dict.fromkeys([DEFAULT_BATCH_SIZE, max(rates, key=rates.__getitem__)]))
        return {f"CrossEncoder.predict, batches of {size}": rate for size, rate in rates.items()}

    def rates(self, items: Items) -> dict[int, float]:
        """Return pairs per second by batch size: the default's, and the fastest's if it is another."""
        if self.problem:
            return {}
        return {size: len(items) / self._seconds(items, size) for size in self._sizes}

    def _seconds(self, items: Items, batch_size: int) -> float:
        assert self._process is not None, "it runs unless there is a problem"
        assert self._process.stdin is not None, "it was started with a pipe"
        self._process.stdin.write(json.dumps({"pairs": items, "batch_size": batch_size}) + "\n")
        self._process.stdin.flush()
        answer = self._read()
        if "seconds" not in answer:
            message = f"the reference ended with exit code {self._process.wait()}"
            raise RuntimeError(message)
        return float(answer["seconds"])

    def _read(self) -> dict[str, Any]:
        assert self._process is not None, "it was started"
        assert self._process.stdout is not None, "it was started with a pipe"
        line = self._process.stdout.readline()
        content = json.loads(line) if line else {}
        return dict(content)


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[-1] if lines else "it did not start"
