"""How the tokens of a batch are laid out between the layers.

A batch comes in as a rectangle: [batch, tokens], short texts padded. Only attention needs that shape; all
other operators work on single tokens, and they are 95 % of the arithmetic. The packed layout takes the
padding out before the first layer and puts the rectangle back only around attention, so that what is
padded is hardly computed (Zhai et al. 2022, "ByteTransformer", arXiv:2210.03052, calls this the padding-free
algorithm). On CPUs that costs nothing measurable even where there is no padding.

GPUs get the padded layout: ONNX Runtime recognizes attention in it and replaces it by its fused kernels.
"""

from __future__ import annotations

from typing import Literal, Protocol

from services.inference.graph.nodes import GraphWriter

LayoutName = Literal["packed", "padded"]

Reads = Literal["first", "all"]
"""Whose vectors are wanted of the last layer: the first token's of each text, or every token's."""


class Layout(Protocol):
    """Where tokens are. Made for one graph, from its inputs."""

    narrows: bool
    """Whether the last layer may be computed for first tokens alone where only these are wanted."""

    def take(self, graph: GraphWriter, rectangle: str) -> str:
        """Return integers [batch, tokens] as the layout has them: the same, or one per real token."""

    def first(self, graph: GraphWriter, x: str) -> str:
        """Return the vectors of the first tokens, [batch, width], of vectors of tokens."""

    def positions(self, graph: GraphWriter, table: str) -> str:
        """Return the rows of a position table, in a shape that adds to the rows of the word table."""

    def unpack(self, graph: GraphWriter, x: str) -> str:
        """Return vectors of tokens as a rectangle [batch, tokens, width]."""

    def pack(self, graph: GraphWriter, x: str, width: int) -> str:
        """Return a rectangle [batch, tokens, heads, size] as vectors of tokens, `width` numbers each."""


class PaddedLayout:
    """The rectangle all the way."""

    narrows = False  # ONNX Runtime would not recognize attention in a layer that differs

    def take(self, graph: GraphWriter, rectangle: str) -> str:
        """Return `rectangle`."""
        del graph
        return rectangle

    def first(self, graph: GraphWriter, x: str) -> str:
        """Return the first column, [batch, width]."""
        return graph.call("Gather", [x, graph.index(0)], axis=1)

    def positions(self, graph: GraphWriter, table: str) -> str:
        """Return the first rows of the table, [tokens, width]."""
        tokens = graph.call("Shape", ["input_ids"], start=1, end=2)
        return graph.call("Slice", [table, graph.integers(0), tokens])

    def unpack(self, graph: GraphWriter, x: str) -> str:
        """Return `x`: it is a rectangle."""
        del graph
        return x

    def pack(self, graph: GraphWriter, x: str, width: int) -> str:
        """Return the rectangle [batch, tokens, width]."""
        return graph.call("Reshape", [x, graph.integers(0, 0, width)])


class PackedLayout:
    """Real tokens only, [real tokens, width], in the order of the rectangle read row by row.

    Adds two index tensors to the graph: where each real token stands in the flattened rectangle, and
    which real token stands at each place of the rectangle. Padding repeats the token before it; its
    attention scores are masked. Texts have at least one token and begin in the first column.
    """

    narrows = True

    def __init__(self, graph: GraphWriter) -> None:
        zero, one = graph.index(0), graph.index(1)
        shape = graph.call("Shape", ["attention_mask"])
        flat_mask = graph.call("Reshape", ["attention_mask", graph.integers(-1)])
        places = graph.call("NonZero", ["attention_mask"])
        row = graph.call("Gather", [places, zero])
        self._column = graph.call("Gather", [places, one])
        width = graph.call("Gather", [shape, one])
        self._places = graph.call("Add", [graph.call("Mul", [row, width]), self._column])
        count = graph.call("CumSum", [flat_mask, zero])
        index = graph.call("Max", [graph.call("Sub", [count, one]), zero])
        self._tokens = graph.call("Reshape", [index, shape])

    def take(self, graph: GraphWriter, rectangle: str) -> str:
        """Return the numbers at the places of real tokens."""
        flat = graph.call("Reshape", [rectangle, graph.integers(-1)])
        return graph.call("Gather", [flat, self._places])

    def first(self, graph: GraphWriter, x: str) -> str:
        """Return the vectors of the tokens in the first column, [batch, width]."""
        return graph.call("Gather", [x, graph.call("Gather", [self._tokens, graph.index(0)], axis=1)])

    def positions(self, graph: GraphWriter, table: str) -> str:
        """Return the table's row for the column that each token stands in."""
        return graph.call("Gather", [table, self._column])

    def unpack(self, graph: GraphWriter, x: str) -> str:
        """Return the rectangle [batch, tokens, width]."""
        return graph.call("Gather", [x, self._tokens])

    def pack(self, graph: GraphWriter, x: str, width: int) -> str:
        """Return the vectors of the real tokens."""
        rows = graph.call("Reshape", [x, graph.integers(-1, width)])
        return graph.call("Gather", [rows, self._places])


def layout_for(name: LayoutName, graph: GraphWriter) -> Layout:
    """Return the layout called `name`, for one graph."""
    return PackedLayout(graph) if name == "packed" else PaddedLayout()
