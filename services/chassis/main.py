"""The command line that every service has, and its exit codes.

0: stopped when asked to. 1: could not start, or failed; the log says why. 2: the configuration or the
command line is wrong; every problem is on standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from services.chassis.logs import configure_logs
from services.chassis.metrics import AddressInUse
from services.chassis.process import (
    Application,
    ProcessSettings,
    ServiceProcess,
    Surroundings,
    run_until_signal,
)
from services.chassis.reload import Source, different
from services.chassis.tls import CertificatesUnusable
from services.config import (
    ConfigurationFile,
    ConfigurationInvalid,
    Service,
    environment,
    exposure,
    load,
    split_address,
)
from services.version import VERSION

EXIT_FAILED: Final = 1
EXIT_MISCONFIGURED: Final = 2
MAX_DRAIN_SECONDS: Final = 86_400
OWN_LIMITS: Final = frozenset({"max_message_bytes", "max_concurrent_calls"})
"""The limits that a server is built with. The others are the application's."""

Build = Callable[[Surroundings, ConfigurationFile], Application]

log: Final = logging.getLogger(__name__)


def main(name: str, build: Build, arguments: Sequence[str] | None = None, *, keys: bool = False) -> int:
    """Run the service `name` until it is told to stop; return the process's exit code.

    `keys` says that it needs the keys of providers.
    """
    options = _parse(name, arguments)
    try:
        file = load(options.config, keys=keys)
    except ConfigurationInvalid as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_MISCONFIGURED
    settings = _settings(name, file, options)
    if problem := exposure(file.configuration, name, settings.service.listen):
        sys.stderr.write(f"--listen {settings.service.listen}: {problem}\n")
        return EXIT_MISCONFIGURED
    configure_logs(name, settings.telemetry)
    source = Source(
        path=options.config.absolute(),
        read=partial(_read_again, options.config, settings, keys=keys),
        adopt=lambda changed: _adopt(settings, _settings(name, changed, options)),
    )
    try:
        _run(_serve(settings, lambda surroundings: build(surroundings, file), source))
    except ConfigurationInvalid as error:  # found when the application was built
        sys.stderr.write(f"{error}\n")
        return EXIT_MISCONFIGURED
    except (AddressInUse, CertificatesUnusable) as error:
        log.error("cannot start: %s", error)  # noqa: TRY400  # what happened is said; a traceback adds nothing
        return EXIT_FAILED
    except Exception:
        log.exception("failed")
        return EXIT_FAILED
    return 0


def _parse(name: str, arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"python -m services.{name}", description=f"Run the {name} service."
    )
    parser.add_argument(
        "--config", type=Path, default=environment.configuration_path(), help="configuration file"
    )
    parser.add_argument(
        "--listen", type=_address, metavar="HOST:PORT", help=f"instead of services.{name}.listen"
    )
    parser.add_argument(
        "--drain-seconds", type=_seconds, metavar="N", help="instead of shutdown.drain_seconds"
    )
    parser.add_argument("--log-format", choices=("json", "console"), help="instead of telemetry.log_format")
    metrics = parser.add_mutually_exclusive_group()
    metrics.add_argument(
        "--metrics-listen",
        type=_address,
        metavar="HOST:PORT",
        help=f"instead of services.{name}.metrics_listen",
    )
    metrics.add_argument("--no-metrics", action="store_true", help="serve no metrics")
    return parser.parse_args(arguments)


def _address(text: str) -> str:
    try:
        split_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 <= (seconds := float(text)) <= MAX_DRAIN_SECONDS:
            return seconds
    message = f"must be a number of seconds from 0 to {MAX_DRAIN_SECONDS}"
    raise argparse.ArgumentTypeError(message)


def _settings(name: str, file: ConfigurationFile, options: argparse.Namespace) -> ProcessSettings:
    configuration = file.configuration
    service: Service = getattr(configuration.services, name)
    changes: dict[str, str | None] = {}
    if options.listen:
        changes["listen"] = options.listen
    if options.metrics_listen or options.no_metrics:
        changes["metrics_listen"] = options.metrics_listen
    shutdown, telemetry = configuration.shutdown, configuration.telemetry
    if options.log_format:
        telemetry = telemetry.model_copy(update={"log_format": options.log_format})
    if options.drain_seconds is not None:
        shutdown = shutdown.model_copy(update={"drain_seconds": options.drain_seconds})
    return ProcessSettings(
        name=name,
        version=VERSION,
        service=service.model_copy(update=changes),
        limits=configuration.limits,
        shutdown=shutdown,
        telemetry=telemetry,
    )


def _read_again(path: Path, started: ProcessSettings, *, keys: bool) -> ConfigurationFile:
    """Return what the file says now.

    Raises:
        ConfigurationInvalid: It cannot be used, or would leave this process, which goes on listening where it
            does, open to other machines.
    """
    file = load(path, keys=keys)
    services = file.configuration.services.model_copy(update={started.name: started.service})
    lasting = file.configuration.model_copy(update={"services": services})
    if problem := exposure(lasting, started.name, started.service.listen):
        raise ConfigurationInvalid(path, [problem])
    return file


def _adopt(started: ProcessSettings, changed: ProcessSettings) -> list[str]:
    """Log at another level from now on; return what else differs from what the process was started with."""
    logging.getLogger().setLevel(changed.telemetry.log_level.upper())
    service, limits = different(started.service, changed.service), different(started.limits, changed.limits)
    shutdown, telemetry = (
        different(started.shutdown, changed.shutdown),
        different(started.telemetry, changed.telemetry),
    )
    return [
        *(f"services.{started.name}.{name}" for name in service),
        *(f"limits.{name}" for name in limits if name in OWN_LIMITS),
        *(f"shutdown.{name}" for name in shutdown),
        *(f"telemetry.{name}" for name in telemetry if name != "log_level"),
    ]


async def _serve(
    settings: ProcessSettings, build: Callable[[Surroundings], Application], source: Source
) -> None:
    await run_until_signal(ServiceProcess(settings, build, source))


def _run(work: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop  # not on Windows
    except ImportError:
        asyncio.run(work)
    else:
        uvloop.run(work)
