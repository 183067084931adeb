from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.config import environment


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"INGLENOOK_STATE": "/a/b", "XDG_STATE_HOME": "/xdg", "HOME": "/home/me"}, "/a/b"),
        ({"INGLENOOK_STATE": "~/b", "XDG_STATE_HOME": "/xdg", "HOME": "/home/me"}, "/home/me/b"),
        ({"INGLENOOK_STATE": "", "XDG_STATE_HOME": "/xdg", "HOME": "/home/me"}, "/xdg/inglenook"),
        ({"XDG_STATE_HOME": "", "HOME": "/home/me"}, "/home/me/.local/state/inglenook"),
        ({"INGLENOOK_CACHE": "/a/b", "HOME": "/home/me"}, "/home/me/.local/state/inglenook"),
    ],
)
def test_state_is_where_the_most_particular_variable_says(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], folder: str
) -> None:
    """What was spent is kept apart from what may be deleted at any time."""
    for name in ("INGLENOOK_CACHE", "INGLENOOK_STATE", "XDG_STATE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert environment.state_directory() == Path(folder)


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"INGLENOOK_CACHE": "/a/b", "XDG_CACHE_HOME": "/xdg", "HOME": "/home/me"}, "/a/b"),
        ({"INGLENOOK_CACHE": "~/b", "XDG_CACHE_HOME": "/xdg", "HOME": "/home/me"}, "/home/me/b"),
        ({"INGLENOOK_CACHE": "", "XDG_CACHE_HOME": "/xdg", "HOME": "/home/me"}, "/xdg/inglenook"),
        ({"XDG_CACHE_HOME": "/xdg", "HOME": "/home/me"}, "/xdg/inglenook"),
        ({"XDG_CACHE_HOME": "", "HOME": "/home/me"}, "/home/me/.cache/inglenook"),
        ({"HOME": "/home/me"}, "/home/me/.cache/inglenook"),
    ],
)
def test_cache_is_where_the_most_particular_variable_says(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], folder: str
) -> None:
    """Ours goes before the desktop's, the desktop's before the home folder; empty means unset."""
    for name in ("INGLENOOK_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert environment.cache_directory() == Path(folder)


def test_user_without_a_home_is_told_which_variable_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container, a process may run as a user that nobody has made."""
    for name in ("INGLENOOK_CACHE", "INGLENOOK_STATE", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as it is where there is no such user
    with pytest.raises(RuntimeError, match="no home directory to keep files in; set INGLENOOK_STATE"):
        environment.state_directory()
    with pytest.raises(RuntimeError, match="set INGLENOOK_CACHE"):
        environment.cache_directory()


@pytest.mark.parametrize(
    ("value", "path"), [(None, "inglenook.toml"), ("", "inglenook.toml"), ("/etc/i.toml", "/etc/i.toml")]
)
def test_configuration_is_in_the_working_directory_unless_a_variable_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, value: str | None, path: str
) -> None:
    """Containers set one variable; a checkout sets none."""
    monkeypatch.delenv("INGLENOOK_CONFIG", raising=False)
    if value is not None:
        monkeypatch.setenv("INGLENOOK_CONFIG", value)
    assert environment.configuration_path() == Path(path)


def test_child_gets_this_environment_with_the_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child process differs in what was said, and this process in nothing."""
    monkeypatch.setenv("KEPT", "1")
    monkeypatch.setenv("CHANGED", "old")
    monkeypatch.delenv("ADDED", raising=False)
    before = dict(os.environ)
    child = environment.child_environment(CHANGED="new", ADDED="2")
    assert child == {**before, "CHANGED": "new", "ADDED": "2"}
    assert dict(os.environ) == before


def test_variable_of_a_secret_is_read_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rotated secret is seen by the next reload."""
    monkeypatch.delenv("API_KEY", raising=False)
    assert environment.variable("API_KEY") is None
    monkeypatch.setenv("API_KEY", "new")
    assert environment.variable("API_KEY") == "new"


def test_native_libraries_are_told_what_nobody_has_told_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our settings are defaults: someone who debugs gRPC keeps the verbosity that he chose."""
    monkeypatch.setenv("GRPC_VERBOSITY", "DEBUG")
    monkeypatch.delenv("GRPC_ENABLE_FORK_SUPPORT", raising=False)
    environment.prepare_native_libraries()
    assert os.environ["GRPC_VERBOSITY"] == "DEBUG"
    assert os.environ["GRPC_ENABLE_FORK_SUPPORT"] == "0"
