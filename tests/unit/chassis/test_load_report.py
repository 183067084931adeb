"""What a load report holds on the wire, and what is read of any other."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.load_report import LOAD_KEY, ORCA_KEY, LoadReports, decode, encode
from services.chassis.pipeline.layer import Method
from tests.support.contexts import fake_context

DOUBLE = struct.Struct("<d")


@given(st.floats(min_value=1e-9, max_value=1e9))
def test_what_is_told_is_read(utilization: float) -> None:
    """Any utilization survives the wire."""
    assert decode([("other", b"x"), *encode(utilization)]) == pytest.approx(utilization, rel=1e-3)
    assert decode([one for one in encode(utilization) if one[0] == ORCA_KEY]) == utilization


def test_report_is_field_nine_of_the_message() -> None:
    """The bytes are those of OrcaLoadReport.application_utilization: tag 73, then a little-endian double."""
    assert encode(0.5) == ((LOAD_KEY, "0.5"), (ORCA_KEY, bytes([73]) + DOUBLE.pack(0.5)))


def test_other_fields_of_a_report_are_skipped() -> None:
    """A backend that is not ours may tell more: varints, strings, maps, fixed numbers."""
    before = bytes([0x09]) + DOUBLE.pack(0.9) + b"\x22\x03abc" + b"\x2d\x00\x00\x00\x00" + b"\x50\x96\x01"
    after = b"\x31" + DOUBLE.pack(12.0)
    assert decode([(ORCA_KEY, before + bytes([73]) + DOUBLE.pack(0.25) + after)]) == 0.25


@given(st.binary(max_size=40))
def test_bytes_that_are_no_report_tell_nothing(content: bytes) -> None:
    """Whatever a backend sends, reading it raises nothing, and a load is never negative."""
    load = decode([(ORCA_KEY, content)])
    assert load is None or load >= 0


@pytest.mark.parametrize("load", [-1.0, float("nan"), float("inf")])
def test_senseless_load_is_none(load: float) -> None:
    """A load that cannot be compared is not compared."""
    assert decode([(ORCA_KEY, bytes([73]) + DOUBLE.pack(load))]) is None
    assert decode([(LOAD_KEY, str(load))]) is None


@pytest.mark.parametrize("metadata", [[], [(LOAD_KEY, "text")], [(ORCA_KEY, "text")], [("other", b"")]])
def test_metadata_without_a_report_tells_no_load(metadata: list[tuple[str, Any]]) -> None:
    """No report is not the same as idle."""
    assert decode(metadata) is None


async def test_report_goes_with_an_answer_and_takes_nothing_away() -> None:
    """What the answer's trailing metadata holds already stays."""

    async def answer(request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("who", "me"),))
        return request

    context = fake_context()
    behavior = LoadReports(lambda: 0.5).wrap(Method("/s/m", streams=False, deserialize=bytes), answer)
    assert await behavior(b"x", context) == b"x"
    assert context.trailing == (("who", "me"), *encode(0.5))
