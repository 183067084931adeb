"""Another configuration is put in force as a whole, or nothing changes and the status says why."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from inglenook.common.v1 import ConfigStatus

from services.chassis.config_metrics import ConfigMetrics
from services.chassis.errors import Reason
from services.chassis.metrics import new_registry
from services.chassis.reload import Reloader, ReloadRefused, Source, different, written
from services.config import ConfigurationFile, Limits, load

QUEUE = "[limits]\nmax_queue_size = {}\n"
SECRET = "sk-this-is-nobodys-business"


@dataclass
class Bench:
    """A reloader over a file in a folder of the test's.

    Attributes:
        path: The file.
        applied: The queue sizes that were put in force, in order.
        problem: What putting one in force fails with.
        gate: Held while the test wants; set at first.
        begun: Set once a configuration is being put in force.
        restart: What the application says needs a restart.
        results: How reloads ended.
    """

    path: Path
    applied: list[int] = field(default_factory=list)
    problem: Exception | None = None
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    restart: Sequence[str] = ()
    results: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate.set()
        self.write(QUEUE.format(5000))
        source = Source(self.path, partial(load, self.path), lambda _: ["services.test.listen"])
        self.reloader = Reloader(source, self.results.append)
        self.reloader.begin(load(self.path), self.apply)

    def write(self, content: str) -> None:
        """Replace what is in the file."""
        self.path.write_text(content, encoding="utf-8")

    async def apply(self, file: ConfigurationFile) -> Sequence[str]:
        """Put a configuration in force."""
        self.begun.set()
        await self.gate.wait()
        if self.problem is not None:
            raise self.problem
        self.applied.append(file.configuration.limits.max_queue_size)
        return self.restart


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return a reloader over a file that is in force."""
    return Bench(tmp_path / "inglenook.toml")


async def refusal(bench: Bench) -> ReloadRefused:
    """Reload, which must be refused."""
    with pytest.raises(ReloadRefused) as raised:
        await bench.reloader.reload()
    return raised.value


async def test_a_changed_file_is_in_force_once_reload_returns(bench: Bench) -> None:
    """The status names its hash, and when it was read."""
    before = bench.reloader.status
    bench.write(QUEUE.format(6000))
    assert await bench.reloader.reload() is True
    after = bench.reloader.status
    assert bench.applied == [6000]
    assert after.sha256 != before.sha256
    assert after.loaded_at > before.loaded_at
    assert after.last_error == ""


async def test_a_file_with_the_content_that_is_in_force_changes_nothing(bench: Bench) -> None:
    """To whoever only looks for changes, it is not even given to the application."""
    bench.write(QUEUE.format(5000))
    assert await bench.reloader.reload(again=False) is False
    assert bench.applied == []


async def test_people_who_ask_have_the_same_file_put_in_force_again(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """The secrets that it refers to may have been replaced; that its content was the same is told."""
    caplog.set_level(logging.INFO, "services.chassis.reload")
    assert await bench.reloader.reload() is False
    assert bench.applied == [5000]
    assert bench.results == ["unchanged"]
    assert [record.getMessage() for record in caplog.records] == ["configuration read again, nothing changed"]


async def test_look_at_a_file_that_is_in_force_is_no_reload(bench: Bench) -> None:
    """Every process looks once after its start; that a file is mended is one."""
    await bench.reloader.follow()
    assert bench.results == []
    bench.write("[limits")
    await bench.reloader.follow()
    bench.write(QUEUE.format(5000))
    await bench.reloader.follow()
    assert bench.results == ["refused", "unchanged"]


async def test_a_file_with_problems_changes_nothing_and_all_of_them_are_told(bench: Bench) -> None:
    """By their paths, and without what the file says there."""
    before = bench.reloader.status
    bench.write(f'[limits]\nmax_queue_size = "{SECRET}"\nmax_speed = 1\n')
    refused = await refusal(bench)
    assert refused.reason == Reason.CONFIG_INVALID
    assert [path for path, _ in refused.violations] == ["limits.max_queue_size", "limits.max_speed"]
    after = bench.reloader.status
    assert (after.sha256, after.loaded_at) == (before.sha256, before.loaded_at)
    assert "limits.max_queue_size" in after.last_error
    assert SECRET not in after.last_error + str(refused) + str(refused.violations)
    assert bench.applied == []


async def test_a_file_that_is_gone_or_no_toml_changes_nothing(bench: Bench) -> None:
    """And the next one that is fine takes the error away, even if it is the one that was in force."""
    bench.write("[limits")
    assert "is not TOML" in str(await refusal(bench))
    bench.path.unlink()
    assert "cannot be read" in str(await refusal(bench))
    assert "cannot be read" in bench.reloader.status.last_error
    bench.write(QUEUE.format(5000))
    assert await bench.reloader.reload() is False
    assert bench.reloader.status.last_error == ""


async def test_what_the_application_cannot_follow_changes_nothing_and_is_tried_again(bench: Bench) -> None:
    """What it says of the matter goes to the log, for it may hold values of the file."""
    bench.write(QUEUE.format(6000))
    bench.problem = RuntimeError(SECRET)
    refused = await refusal(bench)
    assert SECRET not in str(refused)
    assert "RuntimeError" in bench.reloader.status.last_error
    bench.problem = None
    assert await bench.reloader.reload() is True
    assert bench.reloader.status.last_error == ""


async def test_settings_that_need_a_restart_are_told_until_they_are_as_before(bench: Bench) -> None:
    """Those of the application and those of the process."""
    bench.restart = ["engine.threads"]
    bench.write(QUEUE.format(6000))
    await bench.reloader.reload()
    assert list(bench.reloader.status.restart_needed) == ["engine.threads", "services.test.listen"]
    bench.restart = []
    bench.write(QUEUE.format(7000))
    await bench.reloader.reload()
    assert list(bench.reloader.status.restart_needed) == ["services.test.listen"]


async def test_reloads_take_turns_and_those_asked_for_meanwhile_are_one(bench: Bench) -> None:
    """The one that waits reads what is there when its turn comes."""
    bench.gate.clear()
    bench.write(QUEUE.format(6000))
    first = asyncio.create_task(bench.reloader.reload())
    await bench.begun.wait()
    others = [asyncio.create_task(bench.reloader.reload()) for _ in range(5)]
    await asyncio.sleep(0)
    bench.write(QUEUE.format(7000))
    bench.gate.set()
    await first
    await asyncio.gather(*others)
    assert bench.applied[-1] == 7000
    assert len(bench.results) == 2


async def test_a_caller_who_leaves_does_not_stop_a_reload(bench: Bench) -> None:
    """Half a reload would be worse than none."""
    bench.gate.clear()
    bench.write(QUEUE.format(6000))
    leaving = asyncio.create_task(bench.reloader.reload())
    staying = asyncio.create_task(bench.reloader.reload())
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    bench.gate.set()
    assert await staying is True
    assert leaving.cancelled()


async def test_what_could_not_be_carried_out_is_in_the_status_while_it_lasts(bench: Bench) -> None:
    """A model that could not be loaded is no reason to refuse a file, and must not be hidden."""
    trouble = "models.minilm: answers as before: no such folder"
    bench.reloader.trouble = lambda: trouble
    assert bench.reloader.status.last_error == trouble
    bench.reloader.trouble = str
    assert bench.reloader.status.last_error == ""


async def test_the_status_travels_as_the_contract_has_it(bench: Bench) -> None:
    """Every field of it."""
    bench.restart = ["engine.threads"]
    bench.write(QUEUE.format(6000))
    await bench.reloader.reload()
    bench.write("broken")
    await refusal(bench)
    status, message = bench.reloader.status, written(bench.reloader.status, ConfigStatus())
    assert message.path == str(bench.path)
    assert message.sha256 == status.sha256
    assert message.loaded_at.ToDatetime(tzinfo=status.loaded_at.tzinfo) == status.loaded_at
    assert message.last_error == status.last_error != ""
    assert list(message.restart_needed) == ["engine.threads", "services.test.listen"]


async def test_metrics_tell_whether_the_last_reload_succeeded_and_what_is_in_force(bench: Bench) -> None:
    """There is one series with a hash: that of the file in force."""
    registry = new_registry("test", "0")
    metrics = ConfigMetrics(registry)
    metrics.of(bench.reloader)
    metrics.count("refused")

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"inglenook_config_{name}", labels)

    before = bench.reloader.status
    assert value("last_reload_success") == 1.0
    assert value("info", sha256=before.sha256) == 1.0
    assert value("reloads_total", result="refused") == 1.0
    assert value("reloads_total", result="changed") == 0.0
    bench.write(QUEUE.format(6000))
    await bench.reloader.reload()
    bench.write("broken")
    await refusal(bench)
    after = bench.reloader.status
    assert value("last_reload_success") == 0.0
    assert value("loaded_timestamp_seconds") == after.loaded_at.timestamp()
    assert value("restart_needed") == 1.0
    assert value("info", sha256=before.sha256) is None
    assert value("info", sha256=after.sha256) == 1.0


async def test_without_a_configuration_there_is_nothing_to_reload() -> None:
    """As in a test of the chassis alone."""
    reloader = Reloader()
    with pytest.raises(ReloadRefused):
        await reloader.reload()
    assert reloader.status.sha256 == ""


async def test_closing_ends_what_is_under_way(bench: Bench) -> None:
    """No task outlives the process's event loop, and who asked is told: nobody has cancelled them."""
    bench.gate.clear()
    bench.write(QUEUE.format(6000))
    asked = [asyncio.create_task(bench.reloader.reload()) for _ in range(2)]
    await asyncio.sleep(0)
    await bench.reloader.close()
    ended = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(one, ReloadRefused) and "stopping" in str(one) for one in ended)


async def test_nothing_is_put_in_force_after_closing(bench: Bench) -> None:
    """What a signal or a late call would open, nobody would close."""
    await bench.reloader.close()
    bench.write(QUEUE.format(6000))
    with pytest.raises(ReloadRefused, match="stopping"):
        await bench.reloader.reload()
    assert bench.applied == []


def test_settings_that_differ_are_named_in_their_order() -> None:
    """By the names that they have in the file."""
    changed = Limits(max_batch_size=7, max_queue_size=5000)
    assert different(Limits(), changed) == ["max_queue_size", "max_batch_size"]
    assert different(changed, changed) == []
