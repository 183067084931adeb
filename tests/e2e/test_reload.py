"""An operator changes the file of a cluster of real processes while it runs."""

from __future__ import annotations

import asyncio
import json
from hashlib import sha256
from pathlib import Path

from inglenook.embed.v1 import EmbedRequest
from inglenook.router.v1 import Backend

from tests.support import tool
from tests.support.configuration import describe_model
from tests.support.polling import until
from tests.support.stage import IMPATIENT, staged


async def test_a_file_with_a_new_model_reaches_all_processes_and_a_broken_one_none(
    tmp_path: Path, tiny_model: Path
) -> None:
    """The tool says so at once for the router; the status tells which file every replica has in force."""
    async with staged(tmp_path, tiny_model, replicas=1, more=IMPATIENT) as stage:
        path, router = stage.cluster.file.path, ("--router", stage.address)
        good = path.read_text(encoding="utf-8")

        path.write_text(good.replace("[channels]", "[chanels]"), encoding="utf-8")
        refused = await asyncio.to_thread(tool.run, path, "reload", *router)
        assert refused.returncode == 1, refused.stderr
        assert "chanels is not a setting" in refused.stderr

        path.write_text(good + describe_model("embed", "second", tiny_model), encoding="utf-8")
        document = await asyncio.to_thread(tool.answer, stage.cluster.file, "reload", *router)
        wanted = sha256(path.read_bytes()).hexdigest()
        assert document["config"]["sha256"] == wanted
        assert document["config"]["lastError"] == ""

        async def followed() -> list[Backend]:
            return [one for one in await stage.backends() if one.config.sha256 == wanted]

        assert await until(followed)
        answer = await stage.ask(EmbedRequest(model="second", inputs=["the cat"]))
        assert answer.model == "second"
        shown = await asyncio.to_thread(tool.run, path, "status", *router)
        assert shown.stdout.count(wanted[:12]) >= 2, json.dumps(shown.stdout)
