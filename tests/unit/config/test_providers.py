"""What holds for providers, for their keys, and for what they may cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.config import (
    AnthropicProvider,
    CloudflareProvider,
    CompatibleProvider,
    ConfigurationInvalid,
    HostedProvider,
    OllamaProvider,
    load,
)
from tests.unit.config.conftest import Accepted, Refused

KEY = 'api_key = "env:SOME_KEY"\n'
OLLAMA = '[providers.p]\ntype = "ollama"\n'
ANTHROPIC = f'[providers.p]\ntype = "anthropic"\n{KEY}'
COMPATIBLE = '[providers.p]\ntype = "openai-compatible"\nurl = "http://127.0.0.1:8000/v1"\n'
PAID = "[paid]\nenabled = true\n"

SECRET = "hunter2-and-more"
BAD_URL = (
    "providers.p.url: must be http:// or https:// with a host, perhaps a port and a path, and nothing else"
    " (no user and no query; a key belongs into api_key)"
)
TIERS = "providers.p.tier: must be 'standard' or 'premium'"


def problems(folder: Path, text: str, *, keys: bool = True) -> list[str]:
    """Return the problems of a file for a service that needs keys, or for one that does not."""
    path = folder / "inglenook.toml"
    path.write_text(text, encoding="utf-8")
    try:
        load(path, keys=keys)
    except ConfigurationInvalid as invalid:
        return [str(problem) for problem in invalid.problems]
    return []


def test_type_decides_what_a_provider_may_say(accepted: Accepted, refused: Refused) -> None:
    """Each type has its own settings; one of another type is as wrong as one that does not exist."""
    providers = accepted(
        f'{OLLAMA}keep_alive = "10m"\n'
        f'[providers.q]\ntype = "groq"\n{KEY}'
        f'[providers.r]\ntype = "cloudflare"\naccount_id = "a1"\n{KEY}'
        f'{COMPATIBLE.replace("providers.p", "providers.s")}tier = "local"\n'
        f"{ANTHROPIC.replace('providers.p', 'providers.t')}"
    ).providers
    assert [type(one) for one in providers.values()] == [
        OllamaProvider,
        HostedProvider,
        CloudflareProvider,
        CompatibleProvider,
        AnthropicProvider,
    ]
    assert refused(f'{ANTHROPIC}keep_alive = "10m"')[0].startswith("providers.p.keep_alive: is not a setting")
    assert refused(f"{OLLAMA}conect_timeout_seconds = 1") == [
        "providers.p.conect_timeout_seconds: is not a setting (did you mean connect_timeout_seconds?)"
    ]


def test_missing_type_is_told_like_any_missing_setting(refused: Refused) -> None:
    """Nothing else of the table can be checked then, so that is the one problem told."""
    assert refused('[providers.p]\nurl = "http://x"') == [
        "providers.p.type: is missing (add it; docs/configuration.md lists every setting)"
    ]


@pytest.mark.parametrize("kind", ['"bard"', "5"])
def test_unknown_type_is_told_with_the_types_there_are(refused: Refused, kind: str) -> None:
    """What speaks the API of OpenAI has a type, too."""
    (problem,) = refused(f"[providers.p]\ntype = {kind}")
    assert problem.startswith("providers.p.type: must be one of 'ollama', 'anthropic', 'gemini', 'openai', ")
    assert problem.endswith("'openai-compatible'")


def test_ollama_on_this_machine_needs_no_table(accepted: Accepted) -> None:
    """A target can name it; a table of that name goes before it."""
    standing = accepted("").all_providers()["ollama"]
    assert isinstance(standing, OllamaProvider)
    assert (standing.url, standing.tier, standing.discover) == ("http://127.0.0.1:11434", "local", True)
    changed = accepted('[providers.ollama]\ntype = "ollama"\nurl = "http://gpu:11434"').all_providers()
    assert [getattr(one, "url", None) for one in changed.values()] == ["http://gpu:11434"]


@pytest.mark.parametrize("kind", ["anthropic", "gemini", "openai", "openrouter", "groq", "huggingface"])
def test_service_that_takes_money_cannot_be_called_local(refused: Refused, kind: str) -> None:
    """`local` is what is called without asking: nobody gets to spend by a slip of the pen."""
    assert refused(f'[providers.p]\ntype = "{kind}"\n{KEY}tier = "local"') == [TIERS]


@pytest.mark.parametrize("host", ["https://ollama.com", "https://API.Ollama.com.:443/x"])
@pytest.mark.parametrize("tier", ["", 'tier = "local"\n'])
def test_service_of_ollamas_makers_is_not_local(
    accepted: Accepted, refused: Refused, host: str, tier: str
) -> None:
    """Whoever forgets the tier must not send to others what was meant to stay at home."""
    said = "is local, but ollama.com is not a machine of one's own"
    assert refused(f'{OLLAMA}url = "{host}"\n{KEY}{tier}') == [
        f'providers.p.tier: {said} (set tier = "standard" or "premium")'
    ]
    assert accepted(f'{OLLAMA}url = "{host}"\n{KEY}tier = "standard"\n').providers["p"].tier == "standard"
    assert accepted(f'{OLLAMA}url = "http://my-ollama.com.example"\n').providers["p"].tier == "local"


def test_server_of_unknown_price_has_to_be_given_a_tier(accepted: Accepted, refused: Refused) -> None:
    """Nobody but the operator knows whether a server that speaks OpenAI's API costs money."""
    assert refused(COMPATIBLE) == [
        "providers.p.tier: is missing (add it; docs/configuration.md lists every setting)"
    ]
    for tier in ("local", "standard", "premium"):
        assert accepted(f'{COMPATIBLE}tier = "{tier}"').providers["p"].tier == tier


@pytest.mark.parametrize(
    "url",
    ["http://gpu", "https://gpu.example:8443/", "http://[::1]:11434", "http://10.0.0.1:1/a/b/v1", "HTTP://x"],
)
def test_address_of_a_provider_is_scheme_host_port_and_path(
    accepted: Accepted, refused: Refused, url: str
) -> None:
    """Schemes are written small, as in every example."""
    text = f'{OLLAMA}url = "{url}"'
    if url.islower():
        assert getattr(accepted(text).providers["p"], "url", None) == url
    else:
        assert refused(text) == [BAD_URL]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "gpu:11434",
        "ftp://gpu",
        "http://",
        "http:///v1",
        "http://:80",
        "http://gpu:port",
        "http://gpu:99999",
        "http://gpu:0",
        "http://[::1",
        "http://two words",
        "http://gpu/two words",
        f"http://{SECRET}@gpu",
        f"http://user:{SECRET}@gpu/v1",
        f"http://gpu?key={SECRET}",
        f"http://gpu/v1?key={SECRET}",
        f"http://gpu/v1#{SECRET}",
        f"http://gpu\\\\{SECRET}@other",
        f"http://gpu/{'x' * 2000}",
    ],
)
def test_address_with_a_user_or_a_query_is_refused_and_not_repeated(refused: Refused, url: str) -> None:
    """A key in an address would end up in logs, here and on the way."""
    assert refused(f'{OLLAMA}url = "{url}"') == [BAD_URL]


@pytest.mark.parametrize("value", ["10m", "1h30m", "1.5h", "300ms", "0", "600", "-1"])
def test_keep_alive_is_what_an_ollama_understands(accepted: Accepted, value: str) -> None:
    """A time with units, or seconds; negative ones mean for ever."""
    assert getattr(accepted(f'{OLLAMA}keep_alive = "{value}"').providers["p"], "keep_alive", None) == value


@pytest.mark.parametrize("value", ["", "soon", "10 m", "10d", "m", "-1m", "1.5", "10m\\n", "\u0663m"])
def test_keep_alive_of_another_kind_is_refused(refused: Refused, value: str) -> None:
    """The Ollama would refuse every call."""
    assert refused(f'{OLLAMA}keep_alive = "{value}"') == [
        'providers.p.keep_alive: must be a time such as "10m" or "1h30m", or a whole number of seconds'
    ]


@pytest.mark.parametrize("value", ["", "a/b", "a b", "x" * 65, "../v4"])
def test_account_is_one_part_of_an_address(refused: Refused, value: str) -> None:
    """It is put into the path of every call."""
    text = f'[providers.p]\ntype = "cloudflare"\n{KEY}account_id = "{value}"'
    assert refused(text) == ["providers.p.account_id: must be letters, digits, _ and -, at most 64"]


@pytest.mark.parametrize("key", [SECRET, f"env:{SECRET}", f"sk-{SECRET}", f"Bearer {SECRET}"])
def test_key_in_the_file_is_refused_and_not_repeated(tmp_path: Path, key: str) -> None:
    """Only references are accepted, whoever reads the file."""
    text = f'[providers.p]\ntype = "anthropic"\napi_key = "{key}"\n{PAID}'
    for keys in (True, False):
        assert problems(tmp_path, text, keys=keys) == [
            "providers.p.api_key: must refer to a secret as env:NAME or file:/path, not contain it"
        ]


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        (ANTHROPIC, False),
        (ANTHROPIC + PAID, True),
        (OLLAMA + KEY, True),
        (f'{OLLAMA}{KEY}tier = "standard"\n', False),
        (f'{OLLAMA}{KEY}tier = "standard"\n{PAID}', True),
        (f'{COMPATIBLE}{KEY}tier = "local"\n', True),
        (f'{COMPATIBLE}{KEY}tier = "premium"\n', False),
        (f'{COMPATIBLE}{KEY}tier = "premium"\n{PAID}', True),
        (f'{COMPATIBLE}tier = "local"\n', False),
    ],
)
def test_only_the_service_that_calls_providers_needs_keys_and_only_of_those_it_may_call(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, needed: bool
) -> None:
    """A missing key is told before anything starts, to whoever needs it and to nobody else."""
    monkeypatch.delenv("SOME_KEY", raising=False)
    told = ["providers.p.api_key: env:SOME_KEY is not set or empty (set it before starting)"]
    assert problems(tmp_path, text) == (told if needed else [])
    assert problems(tmp_path, text, keys=False) == []
    monkeypatch.setenv("SOME_KEY", SECRET)
    assert problems(tmp_path, text) == []


def test_key_that_is_there_stays_a_reference(accepted: Accepted, monkeypatch: pytest.MonkeyPatch) -> None:
    """The configuration never holds the key itself, so that it can be shown."""
    monkeypatch.setenv("SOME_KEY", SECRET)
    configuration = accepted(ANTHROPIC)
    assert SECRET not in configuration.model_dump_json() + repr(configuration)


def test_nothing_is_paid_for_unless_the_file_says_so(accepted: Accepted) -> None:
    """The default is free of charge."""
    paid = accepted("").paid
    assert (paid.enabled, paid.monthly_budget_usd, paid.ledger) == (False, None, None)


@pytest.mark.parametrize("value", ["-1", "inf", "nan", '"20"'])
def test_budget_is_an_amount(refused: Refused, value: str) -> None:
    """A budget that bounds nothing is told, not taken for one."""
    (problem,) = refused(f"[paid]\nmonthly_budget_usd = {value}")
    assert problem.startswith("paid.monthly_budget_usd: must be ")


def test_longest_ejection_is_no_shorter_than_the_first(accepted: Accepted, refused: Refused) -> None:
    """The rule holds between a setting of the file and a default that the file leaves standing."""
    assert accepted("[chat]\nejection_seconds = 120").chat.max_ejection_seconds == 120.0
    assert refused("[chat]\nejection_seconds = 300") == [
        "chat.max_ejection_seconds: is 120, less than ejection_seconds, which is 300"
        " (set it to 300 or more, or ejection_seconds to 120 or less)"
    ]
    assert len(refused("[chat]\nejection_seconds = 0")) == 1  # nothing is compared with what is wrong itself
