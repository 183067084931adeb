from __future__ import annotations

import json
import logging
import traceback
from pathlib import Path

import pytest

from services.config import Secret, SecretUnavailable, resolve
from services.config.secrets import check_reference
from tests.unit.config.conftest import Refused

SECRET = "hunter2-and-more"


@pytest.mark.parametrize(
    "value",
    [
        SECRET,
        f"Bearer {SECRET}",
        f"env:{SECRET}",  # pasted behind the scheme: no variable has such a name
        f"http://{SECRET}",
        f"file:{SECRET}",
        "env:",
        "file:",
        "",
    ],
)
def test_secret_in_the_file_is_refused_and_not_repeated(refused: Refused, value: str) -> None:
    """Only references are accepted, and the message that says so does not carry what was there."""
    assert refused(f"[telemetry.otlp_headers]\nauthorization = '{value}'") == [
        "telemetry.otlp_headers.authorization: "
        "must refer to a secret as env:NAME or file:/path, not contain it"
    ]


@pytest.mark.parametrize("reference", ["env:API_KEY", "env:_x9", "file:/run/secrets/key", "file:~/key"])
def test_references_are_variables_and_absolute_paths(reference: str) -> None:
    """What a reference points to does not depend on the working directory."""
    assert check_reference(reference) == reference


def test_secret_cannot_be_seen_by_accident(caplog: pytest.LogCaptureFixture) -> None:
    """Printing, formatting, logging, dumping or raising it shows stars."""
    secret = Secret(SECRET)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").info("%s %r", secret, secret)
    seen = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r}",
        "{}".format(secret),  # noqa: UP032  # the other ways to format are the point
        "%s" % secret,  # noqa: UP031
        repr([secret, {"key": secret}]),
        json.dumps({"key": secret}, default=str),
        str(ValueError(secret)),
        caplog.text,
    ]
    assert [text for text in seen if SECRET in text or "***" not in text] == []
    assert not hasattr(secret, "__dict__")


def test_secret_is_had_by_asking_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """`reveal` is the one word to search for in the code."""
    monkeypatch.setenv("API_KEY", SECRET)
    assert resolve("env:API_KEY").reveal() == SECRET


def test_secret_from_a_file_is_read_without_the_line_end(tmp_path: Path) -> None:
    """Every editor and most secret stores put a line end behind the value."""
    (tmp_path / "key").write_text(f"{SECRET}\n", encoding="utf-8")
    assert resolve(f"file:{tmp_path / 'key'}").reveal() == SECRET


def test_secret_from_the_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` is the home folder, as in a shell."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "key").write_text(SECRET, encoding="utf-8")
    assert resolve("file:~/key").reveal() == SECRET


def test_equal_secrets_are_equal_and_different_ones_are_not() -> None:
    """A reload can tell whether a secret changed without revealing it."""
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


@pytest.mark.parametrize("value", [None, "", " \n"])
def test_variable_that_is_unset_or_empty_is_no_secret(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    """An empty key would be sent, and refused by someone else with a worse message."""
    if value is None:
        monkeypatch.delenv("API_KEY", raising=False)
    else:
        monkeypatch.setenv("API_KEY", value)
    with pytest.raises(SecretUnavailable, match="env:API_KEY is not set or empty"):
        resolve("env:API_KEY")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read: FileNotFoundError"),
        (b"\n", "is not set or empty"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_file_that_is_missing_empty_or_no_text_is_no_secret(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    """Each way in which a mounted secret can be missing is told alike."""
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SecretUnavailable, match=reason):
        resolve(f"file:{path}")


def test_home_folder_of_nobody_is_a_missing_secret_not_a_crash() -> None:
    """A user name that does not exist is told like a file that does not."""
    with pytest.raises(SecretUnavailable, match="cannot be read"):
        resolve("file:~nobody-has-this-name/key")


def test_traceback_of_an_unreadable_secret_does_not_show_it(tmp_path: Path) -> None:
    """A file in another encoding fails after it was read, and its content stays where it is."""
    (tmp_path / "key").write_bytes(f"{SECRET}\xe9".encode("latin-1"))
    with pytest.raises(SecretUnavailable) as caught:
        resolve(f"file:{tmp_path / 'key'}")
    assert SECRET not in "".join(traceback.format_exception(caught.value))
