from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

from services.chassis.logs import ConsoleFormatter, JsonFormatter, configure_logs
from services.config import Telemetry


def record(
    message: str, *arguments: object, error: BaseException | None = None, **extra: Any
) -> logging.LogRecord:
    """Return a record as `logging.getLogger("services.test")` makes it."""
    exc_info = None if error is None else (type(error), error, error.__traceback__)
    return logging.getLogger("services.test").makeRecord(
        "services.test", logging.WARNING, "test.py", 1, message, arguments, exc_info, extra=extra
    )


def parsed(one: logging.LogRecord) -> dict[str, Any]:
    """Return what the JSON formatter makes of a record."""
    line = JsonFormatter("embed").format(one)
    assert "\n" not in line
    entry: dict[str, Any] = json.loads(line)
    return entry


def raised() -> BaseException:
    """Return an exception with a traceback."""
    try:
        raise ValueError("first line\nsecond line")  # noqa: EM101, TRY003
    except ValueError as error:
        return error


def test_json_entry_says_when_where_and_what() -> None:
    """Log pipelines search by these names."""
    entry = parsed(record("loaded %s in %d s", "tiny", 2))
    time = datetime.fromisoformat(entry.pop("time"))
    assert time.utcoffset() == timedelta(0)
    assert entry == {
        "level": "warning",
        "service": "embed",
        "logger": "services.test",
        "message": "loaded tiny in 2 s",
    }


def test_json_entry_has_the_extras_as_they_are() -> None:
    """Numbers stay numbers; what JSON does not know is written as text."""
    entry = parsed(record("x", count=3, path=Path("a/b"), nested={"deep": [1]}))
    assert (entry["count"], entry["path"], entry["nested"]) == (3, "a/b", {"deep": [1]})


def test_json_entry_is_one_line_whatever_is_in_it() -> None:
    """A line break that gets through makes two broken entries of one, or lets text pose as an entry."""
    entry = parsed(record('a\nb\r"{}\u2028ü', text="c\nd"))
    assert entry["message"] == 'a\nb\r"{}\u2028ü'
    assert entry["text"] == "c\nd"


def test_extras_cannot_pose_as_another_service() -> None:
    """What identifies an entry is the formatter's to say."""
    entry = parsed(record("x", service="router", level="debug", time="never", logger="nobody"))
    assert (entry["service"], entry["level"], entry["logger"]) == ("embed", "warning", "services.test")
    assert entry["time"] != "never"


def test_json_entry_has_the_traceback_as_lines() -> None:
    """The traceback stays with its entry."""
    lines = parsed(record("failed", error=raised()))["exception"]
    assert lines[0].startswith("Traceback")
    assert "ValueError: first line\nsecond line" in lines[-1]


def test_json_entry_inside_a_span_has_its_ids() -> None:
    """From a log entry to its trace, and back, by one search."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    with tracer.start_as_current_span("call") as span:
        entry = parsed(record("x"))
    context = span.get_span_context()
    assert entry["trace_id"] == f"{context.trace_id:032x}"
    assert entry["span_id"] == f"{context.span_id:016x}"
    assert "trace_id" not in parsed(record("x"))


def test_console_line_is_for_people() -> None:
    """Time, level, service, message, extras, in one line; a traceback below it."""
    line, *traceback = ConsoleFormatter("embed").format(record("loaded", error=raised(), count=3)).split("\n")
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} warning embed   loaded  count=3", line)
    assert traceback[0].startswith("Traceback")
    assert traceback[-1] == "second line"


@pytest.fixture
def _logging_restored() -> Iterator[None]:
    """Put logging back as pytest has set it up."""
    root = logging.getLogger()
    handlers, level, grpc_level = root.handlers[:], root.level, logging.getLogger("grpc").level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("grpc").setLevel(grpc_level)
    logging.captureWarnings(capture=False)


@pytest.mark.usefixtures("_logging_restored")
@pytest.mark.parametrize(("log_format", "begins"), [("json", "{"), ("console", "1")])
def test_configuration_chooses_format_and_level(
    monkeypatch: pytest.MonkeyPatch, log_format: str, begins: str
) -> None:
    """Whatever is below the level is left out, and there is one handler, however often it is configured."""
    output = io.StringIO()
    monkeypatch.setattr(sys, "stderr", output)
    for _ in range(2):
        configure_logs("embed", Telemetry.model_validate({"log_format": log_format, "log_level": "warning"}))
    logging.getLogger("services.test").info("quiet")
    logging.getLogger("services.test").warning("loud")
    (line,) = output.getvalue().splitlines()
    assert "loud" in line
    assert line.startswith("{") == (begins == "{")
