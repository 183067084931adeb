"""From a file to a configuration, or to everything that is wrong with it."""

from __future__ import annotations

import hashlib
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from services.config.configuration import Configuration, ConfigurationFile
from services.config.explain import explain
from services.config.exposure import exposed
from services.config.problems import ConfigurationInvalid, Problem
from services.config.references import (
    dangling,
    missing_keys,
    missing_secrets,
    shared_addresses,
    unknown_providers,
)
from services.config.sections.base import BASE
from services.config.vector_spaces import incomparable


def load(path: Path, *, keys: bool = False) -> ConfigurationFile:
    """Read and validate a configuration file.

    Args:
        path: The file.
        keys: The keys of providers must be there too. Only the service that calls providers has them.

    Raises:
        ConfigurationInvalid: The file is missing, is not TOML, or has problems; all of them are in it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        problem = Problem(
            "", f"cannot be read: {error.strerror}", "--config or INGLENOOK_CONFIG names the file"
        )
        raise ConfigurationInvalid(path, [problem]) from error
    return ConfigurationFile(
        path=path.resolve(),
        sha256=hashlib.sha256(content).hexdigest(),
        loaded_at=datetime.now(UTC),
        configuration=_validate(path, _parse(path, content), keys=keys),
    )


def _parse(path: Path, content: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        problem = Problem("", f"is not UTF-8 text: byte {error.start} is not", "")
        raise ConfigurationInvalid(path, [problem]) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationInvalid(path, [Problem("", f"is not TOML: {error}", "")]) from error


def _validate(path: Path, data: dict[str, Any], *, keys: bool) -> Configuration:
    problems = [
        *dangling(data),
        *incomparable(data),
        *unknown_providers(data),
        *shared_addresses(data),
        *missing_secrets(data),
        *exposed(data),
        *(missing_keys(data) if keys else ()),
    ]
    try:
        configuration = Configuration.model_validate(data, context={BASE: path.resolve().parent})
    except ValidationError as error:
        raise ConfigurationInvalid(path, [*problems, *explain(error, Configuration)]) from error
    if problems:
        raise ConfigurationInvalid(path, problems)
    return configuration
