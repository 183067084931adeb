"""Bytes that are put together by hand are what protobuf would have made."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.common.v1 import Timings, Usage
from inglenook.embed.v1 import Embedding, EmbedResponse

from services.inference.models import zero_shot
from services.inference.models.labels import Roles
from services.router.items.asking import cut
from services.router.items.question import Facts
from services.router.items.softmax import scores
from services.router.items.wire import embeddings, tail, took

LOGITS = st.floats(-40, 40, width=32)

examples = settings(deadline=None, max_examples=50)


@examples
@given(
    size=st.sampled_from([1, 2, 3, 31, 32, 384, 4096, 5000]),
    count=st.integers(1, 4),
    packed=st.booleans(),
    tokens=st.none() | st.integers(0, 2**40),
    cached=st.integers(0, 5),
)
def test_embeddings_are_written_as_protobuf_writes_them(
    size: int, count: int, packed: bool, tokens: int | None, cached: int
) -> None:
    """Byte for byte, in both encodings, whatever else the response says."""
    numbers = [[index + place / 7 for place in range(size)] for index in range(count)]
    vectors = [struct.pack(f"<{size}f", *row) for row in numbers]
    timings = Timings(total_time=Duration(nanos=5))
    made = [
        Embedding(packed=vector) if packed else Embedding(values=struct.unpack(f"<{size}f", vector))
        for vector in vectors
    ]
    expected = EmbedResponse(
        embeddings=made,
        model="m",
        usage=None if tokens is None else Usage(input_tokens=tokens),
        timings=timings,
        cached_inputs=cached,
    )
    facts = Facts(model="m", input_tokens=tokens, timings=timings, cached_inputs=cached)
    assert embeddings(vectors, packed=packed) + tail(facts) == expected.SerializeToString()


@examples
@given(st.lists(st.tuples(LOGITS, LOGITS), min_size=1, max_size=9), st.booleans())
def test_scores_of_labels_are_those_of_the_nli_service_to_the_last_bit(
    raw: list[tuple[float, float]], multi_label: bool
) -> None:
    """The same definition on both sides: what is made of kept logits is what the service would make."""
    logits = np.array(raw, dtype=np.float64)[None]
    roles = Roles(entailment=0, contradiction=1)
    expected = zero_shot.score(logits, roles, multi_label=multi_label)
    assert scores(raw, multi_label=multi_label) == expected[0].tolist()


@pytest.mark.parametrize(
    ("count", "width", "split_inputs", "sizes"),
    [
        (128, 3, 128, [128]),
        (129, 3, 128, [64, 65]),
        (200, 3, 128, [66, 67, 67]),
        (1024, 3, 128, [341, 341, 342]),
        (1024, 2, 128, [512, 512]),
        (1024, 1, 128, [1024]),
        (1024, 0, 128, [1024]),
        (1024, 3, 0, [1024]),
        (5, 4, 1, [1, 1, 1, 2]),
    ],
)
def test_parts_are_of_nearly_one_size_and_not_too_small(
    count: int, width: int, split_inputs: int, sizes: list[int]
) -> None:
    """As many as there are replicas, and fewer where a part would hardly be worth its call."""
    parts = cut(range(count), width, split_inputs)
    assert [len(part) for part in parts] == sizes
    assert [position for part in parts for position in part] == list(range(count))


@given(st.floats(min_value=0, max_value=1e6))
def test_time_of_a_call_is_written_as_protobuf_writes_it(seconds: float) -> None:
    """By hand, because it is written for every call that is answered from memory."""
    duration = Duration()
    duration.FromNanoseconds(int(seconds * 1_000_000_000))
    assert took(seconds) == EmbedResponse(timings=Timings(total_time=duration)).SerializeToString()
