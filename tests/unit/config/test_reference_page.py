from __future__ import annotations

from pathlib import Path

import pytest

from services.config import reference
from services.config.configuration import Configuration
from services.config.introduction import COMMAND, EXAMPLE
from services.config.sections.base import Section
from tests.unit.config.conftest import Accepted

COMMITTED = Path(__file__).parents[3] / "docs" / "configuration.md"


def _sections(section: type[Section] = Section) -> set[type[Section]]:
    found = set(section.__subclasses__())
    return found.union(*(_sections(one) for one in found))


def test_committed_page_is_what_the_code_says() -> None:
    """A setting cannot be added, renamed or given another default without the page telling it."""
    assert reference.check(COMMITTED) == ""


def test_page_has_every_table_in_the_order_of_the_file() -> None:
    """The names in the headings are those to write into the file."""
    assert [table.path for table in reference.tables()] == [
        *["models.<name>"] * 7,
        "routes.<capability>",
        "backends.<name>",
        "backends.<name>.tls",
        "services.router",
        "services.chat",
        "services.embed",
        "services.rerank",
        "services.nli",
        "services.<name>.tls",
        *["providers.<name>"] * 8,
        'targets."<provider>/<model>"',
        "chat",
        "paid",
        "engine",
        "hub",
        "limits",
        "cache",
        "access",
        "access.keys.<name>",
        "channels",
        "shutdown",
        "telemetry",
    ]


def test_variants_of_a_table_are_told_with_what_makes_them_one() -> None:
    """What several share is told once, and the rest under the setting that decides."""
    told = {
        table.variant: [setting.name.strip("`") for setting in table.settings] for table in reference.tables()
    }
    assert told['with `capability` = `"embed"`, `"rerank"` or `"nli"`'][:2] == ["source", "revision"]
    assert told['with `capability` = `"nli"`'] == ["labels"]
    assert told['with `capability` = `"chat"`'][0] == "targets"
    assert "dimensions" in told['with `capability` = `"embed"` and `targets`']
    assert "connect_timeout_seconds" in told["of any `type`"]
    assert told['with `type` = `"anthropic"`'] == ["url", "api_key", "tier"]


def test_table_that_may_be_left_out_says_what_that_means() -> None:
    """A table has no default that the page could print: its field says it, before what the table is."""
    told = {table.path: table.description for table in reference.tables()}
    assert told["backends.<name>.tls"].startswith(
        "Speak TLS with its endpoints. Default: plain text.\n\nHow "
    )


def test_table_that_several_tables_have_is_told_once() -> None:
    """Five copies of the same certificates would only make readers look for a difference."""
    assert reference.page().count("the server's own certificate first") == 1


def test_every_setting_is_described() -> None:
    """A setting without a docstring cannot be added; one without a default says what leaving it out means."""
    silent = [
        f"{table.path} {setting.name}"
        for table in reference.tables()
        for setting in table.settings
        if not setting.description
        or (not setting.required and setting.default is None and "Default:" not in setting.description)
    ]
    assert silent == []
    assert all(table.description for table in reference.tables())


def test_settings_are_told_with_type_bounds_and_default() -> None:
    """One line says what may be written; the lines below say what it means."""
    told = {
        f"{table.path} {setting.name}": str(setting).partition("\n")[0]
        for table in reference.tables()
        for setting in table.settings
    }
    assert told["models.<name> `source`"] == "- `source` · string. Required."
    assert told["models.<name> `pooling`"] == '- `pooling` · one of `"cls"`, `"mean"`, `"last_token"`.'
    assert told["models.<name> `max_input_tokens`"] == "- `max_input_tokens` · whole number, 2 to 1,000,000."
    assert told["models.<name> `preload`"] == "- `preload` · true or false. Default: `true`."
    assert told["routes.<capability> `backends`"] == "- `backends` · list of names. Required."
    assert told["services.<name>.tls `certificate`"] == "- `certificate` · path of a file. Required."
    assert told["models.<name> `targets`"].endswith("list of targets (`provider/model`). Required.")
    assert told["providers.<name> `type`"].startswith('- `type` · one of `"ollama"`, `"anthropic"`,')
    assert told["backends.<name> `endpoints`"].endswith("· list of addresses (`host:port`). Required.")
    assert told["services.embed `listen`"].endswith('address (`host:port`). Default: `"127.0.0.1:50053"`.')
    assert told["limits `default_timeout_seconds`"].endswith(
        "number, more than 0, up to 86,400. Default: `60.0`."
    )
    assert told["telemetry `otlp_headers`"].endswith("table of references to secrets. Default: `{}`.")


def test_example_of_the_page_runs(accepted: Accepted) -> None:
    """What people copy is a valid file, and it is on the page as it was tested."""
    configuration = accepted(EXAMPLE)
    assert configuration.backend(configuration.routes["embed"].backends[0]).endpoints
    assert f"```toml\n{EXAMPLE}```" in COMMITTED.read_text(encoding="utf-8")


def test_every_section_is_a_frozen_strict_table() -> None:
    """A section that is added later cannot be laxer than the others."""
    sections = {one for one in _sections() if one.__module__.startswith("services.")}
    assert Configuration in sections
    for section in sections:
        for rule in ("frozen", "strict", "hide_input_in_errors"):
            assert section.model_config.get(rule) is True, (section, rule)
        assert section.model_config.get("extra") == "forbid", section


def test_page_is_written_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    """Without arguments the command writes the page and nothing else."""
    assert reference.main([]) == 0
    assert capsys.readouterr().out == reference.page()


def test_check_shows_what_differs_and_how_to_mend_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An old page fails the check with the lines that are old and the command that makes it again."""
    path = tmp_path / "configuration.md"
    path.write_text(reference.page().replace("whole number, 0 to 1,024", "whole number"), encoding="utf-8")
    assert reference.main(["--check", str(path)]) == 1
    said = capsys.readouterr().err
    assert "\n-- `threads` · whole number. Default: `0`.\n+- `threads` · whole number, 0 to 1,024." in said
    assert said.endswith(f"make it again: {COMMAND} > {path}\n")


@pytest.mark.parametrize("page", [None, ""])
def test_missing_page_is_an_old_page(tmp_path: Path, page: str | None) -> None:
    """A page that was never made fails the check like one that is old."""
    path = tmp_path / "configuration.md"
    if page is not None:
        path.write_text(page, encoding="utf-8")
    assert reference.main(["--check", str(path)]) == 1
