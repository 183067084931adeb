"""A small notation for ONNX graphs: operators are calls, tensors are names.

Only standard operators are written. ONNX Runtime fuses them for the processor at hand when it loads the
graph, which on CPUs is faster than spelling its fused operators out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

OPSET: Final = 20
IR_VERSION: Final = 10
INLINE_BYTES: Final = 1024
"""Tensors up to this size stay in the graph; larger ones are weights and go into the data file."""


@dataclass(slots=True)
class GraphWriter:
    """Collects nodes and weights.

    Attributes:
        half: Compute in fp16 instead of fp32. Integers are int64 either way.
        nodes: Operators, in the order in which they run.
        constants: Small tensors that are stored in the graph itself.
        weights: Large tensors by name, in the order in which they are used.
    """

    half: bool = False
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    weights: dict[str, NDArray[Any]] = field(default_factory=dict)

    def call(self, operator: str, inputs: Sequence[str], *, output: str = "", **attributes: Any) -> str:
        """Add an operator with one output and return the output's name."""
        name = output or f"{operator.lower()}_{len(self.nodes)}"
        node = helper.make_node(operator, list(inputs), [name], name=f"{name}/{operator}", **attributes)
        self.nodes.append(node)
        return name

    @property
    def float_type(self) -> int:
        """ONNX's number for the floating-point type of this graph."""
        return int(onnx.TensorProto.FLOAT16 if self.half else onnx.TensorProto.FLOAT)

    def single(self) -> GraphWriter:
        """Return a writer of this same graph that computes in fp32."""
        return replace(self, half=False)

    def to_single(self, x: str) -> str:
        """Return `x`, floating-point or integer, in fp32."""
        return self.call("Cast", [x], to=onnx.TensorProto.FLOAT)

    @property
    def integer_type(self) -> int:
        """ONNX's number for int64."""
        return int(onnx.TensorProto.INT64)

    def scalar(self, name: str, value: float) -> str:
        """Add a constant number of the graph's floating-point type and return its name."""
        return self.tensor(name, np.array(value, dtype=np.float32))

    def tensor(self, name: str, values: NDArray[Any]) -> str:
        """Add a constant tensor once and return its name; fp32 becomes fp16 in a half graph."""
        if self.half and values.dtype == np.float32:
            values = values.astype(np.float16)
        contiguous = np.asarray(values, order="C")
        if contiguous.nbytes > INLINE_BYTES:
            self.weights.setdefault(name, contiguous)
        elif all(known.name != name for known in self.constants):
            self.constants.append(numpy_helper.from_array(contiguous, name))
        return name

    def integers(self, *values: int) -> str:
        """Add a constant vector of int64 and return its name."""
        return self.tensor(f"int64_{'_'.join(map(str, values))}", np.array(values, dtype=np.int64))

    def index(self, value: int) -> str:
        """Add a constant int64 that is no vector and return its name."""
        return self.tensor(f"index_{value}", np.array(value, dtype=np.int64))

    def linear(self, x: str, name: str, weight: NDArray[Any], bias: NDArray[Any], *, output: str = "") -> str:
        """Add `x @ weight.T + bias`, with `weight` shaped [out, in] as checkpoints store it."""
        product = self.call("MatMul", [x, self.tensor(f"{name}.weight", weight.T)])
        return self.call("Add", [product, self.tensor(f"{name}.bias", bias)], output=output)

    def layer_norm(self, x: str, name: str, weight: NDArray[Any], bias: NDArray[Any], epsilon: float) -> str:
        """Add layer normalization over the last axis (Ba et al. 2016, arXiv:1607.06450)."""
        inputs = [x, self.tensor(f"{name}.weight", weight), self.tensor(f"{name}.bias", bias)]
        return self.call("LayerNormalization", inputs, axis=-1, epsilon=epsilon)
