"""What can go wrong at a hub, and what is said about it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from services.artifacts import ArtifactProblem
from services.config import Hub
from tests.integration.artifacts.conftest import Finder
from tests.support.hub_repository import COMMIT, WEIGHTS, adapter, encoder
from tests.support.hub_server import Fault, HubServer

TOKEN = "hf_ofAnAccount"


@pytest.fixture
def with_token(hub: HubServer, finder: Callable[[Hub], Finder], monkeypatch: pytest.MonkeyPatch) -> Finder:
    """What locates models with a token."""
    monkeypatch.setenv("OUR_TOKEN", TOKEN)
    return finder(Hub(endpoint=hub.url, token="env:OUR_TOKEN"))


def problem(find: Finder, source: str = "hf:org/model", *, adapter: bool = False) -> str:
    """Return what is said when a model cannot be located; never a token."""
    with pytest.raises(ArtifactProblem) as raised:
        find(source, adapter=adapter)
    assert TOKEN not in str(raised.value)
    return str(raised.value)


def test_gated_repository_says_where_to_accept_its_terms(hub: HubServer, find: Finder) -> None:
    """The listing of such a repository is public, so only the first file is refused."""
    hub.repositories["org/model"].gated = True

    assert problem(find) == (
        f"hf:org/model is gated: accept its terms at {hub.url}/org/model with an account, and set "
        "hub.token to its token"
    )


def test_gated_repository_with_a_token_says_whose_account_it_is(hub: HubServer, with_token: Finder) -> None:
    """The token is there; its account has not accepted the terms."""
    hub.repositories["org/model"].gated = True

    assert problem(with_token) == (
        f"hf:org/model is gated: accept its terms at {hub.url}/org/model with the account of the token"
    )


def test_missing_repository_may_be_private(hub: HubServer, find: Finder) -> None:
    """A hub does not tell one from the other to whoever has no token."""
    assert problem(find, "hf:org/nothing") == (
        f"{hub.host} shows no repository org/nothing (401): check the name, and set hub.token or HF_TOKEN "
        "if it is private"
    )


def test_private_repository_is_shown_to_its_token_only(hub: HubServer, with_token: Finder) -> None:
    """The token goes to the hub with every request, and to no CDN."""
    hub.repositories["org/model"].token = TOKEN

    assert (with_token() / "model.safetensors").read_bytes() == WEIGHTS
    assert {one.token for one in hub.seen if not one.cdn} == {TOKEN}
    assert {one.token for one in hub.seen if one.cdn} == {None}


def test_repository_that_the_token_may_not_see_is_missing(hub: HubServer, with_token: Finder) -> None:
    """With a token there, its rights are what to look at."""
    hub.repositories["org/model"].token = "another"

    assert problem(with_token) == (
        f"{hub.host} shows no repository org/model (401): check the name, and that the token may read it"
    )


def test_refused_token_is_told(hub: HubServer, with_token: Finder) -> None:
    """Tokens expire; the repository's name is not what is wrong."""
    said = {"X-Error-Message": "Invalid credentials in Authorization header"}
    hub.faults.append(Fault("/api/", status=401, headers=said))

    assert problem(with_token).startswith(f"{hub.host} refuses the token: it is wrong or has expired; check")


def test_token_that_cannot_be_read_is_named(hub: HubServer, finder: Callable[[Hub], Finder]) -> None:
    """A reference to nothing is told as it stands in the file."""
    find = finder(Hub(endpoint=hub.url, token="env:NO_SUCH_TOKEN"))

    assert problem(find) == "hub.token: env:NO_SUCH_TOKEN is not set or empty"


def test_disabled_repository_is_told(hub: HubServer, find: Finder) -> None:
    """Its author or the hub has taken it away."""
    said = {"X-Error-Message": "Access to this resource is disabled."}
    hub.faults.append(Fault("/api/", status=403, headers=said))

    assert problem(find) == f"access to hf:org/model has been disabled, see {hub.url}/org/model"


def test_commit_that_is_gone_is_named(hub: HubServer, find: Finder) -> None:
    """Authors rewrite history."""
    hub.repositories["org/model"].commit = "f" * 40

    assert problem(find) == (
        f"hf:org/model has no commit {COMMIT}, or no longer; copy a full commit hash from "
        f"{hub.url}/org/model/commits/main"
    )


def test_listed_file_that_is_gone_is_named(hub: HubServer, find: Finder) -> None:
    """Mirrors forget files."""
    hub.faults.append(Fault("tokenizer.json", status=404, headers={"X-Error-Code": "EntryNotFound"}))

    assert problem(find) == (
        f"hf:org/model at {COMMIT[:12]} has no tokenizer.json, although {hub.host} lists it; try "
        "another commit"
    )


@pytest.mark.parametrize(
    ("lacks", "has", "said"),
    [
        (["tokenizer.json"], [], "has no tokenizer.json"),
        (["config.json"], [], "has no config.json"),
        (
            ["model.safetensors"],
            [],
            "has no model.safetensors or .onnx file; pickle files are not loaded, because they can run code: "
            "convert them to safetensors",
        ),
        (["model.safetensors", "pytorch_model.bin"], [], "has no model.safetensors or .onnx file"),
        (
            ["model.safetensors", "pytorch_model.bin"],
            ["model.safetensors.index.json", "model-00001-of-00002.safetensors"],
            "has no model.safetensors or .onnx file; weights in several files are not read: join them into "
            "one",
        ),
        (
            ["model.safetensors"],
            ["onnx/a.onnx", "onnx/b.onnx"],
            "has several .onnx files (onnx/a.onnx, onnx/b.onnx); say which with onnx_file",
        ),
    ],
)
def test_repository_that_lacks_something_says_what(
    hub: HubServer, find: Finder, lacks: list[str], has: list[str], said: str
) -> None:
    """The listing tells: nothing is downloaded."""
    hub.repositories["org/model"] = repository = encoder(*lacks)
    repository.files |= dict.fromkeys(has, b"")

    assert problem(find).startswith(f"hf:org/model at {COMMIT[:12]} {said}")
    assert hub.fetched() == []


def test_missing_onnx_file_lists_those_that_there_are(hub: HubServer, find: Finder) -> None:
    """Names differ from exporter to exporter."""
    hub.repositories["org/model"].files |= {"onnx/a.onnx": b"", "onnx/b.onnx": b""}

    with pytest.raises(ArtifactProblem, match=r"has no onnx/c\.onnx; it has onnx/a\.onnx, onnx/b\.onnx$"):
        find(onnx_file="onnx/c.onnx")


def test_adapter_as_a_pickle_is_refused(hub: HubServer, find: Finder) -> None:
    """Old adapters are pickles."""
    hub.repositories["org/adapter"] = repository = adapter()
    repository.files["adapter_model.bin"] = repository.files.pop("adapter_model.safetensors")

    assert "has no adapter_model.safetensors; pickle files are not loaded" in problem(
        find, "hf:org/adapter", adapter=True
    )


def test_model_is_no_adapter(find: Finder) -> None:
    """The names of the two settings are easily confused."""
    assert problem(find, adapter=True).endswith("has no adapter_config.json")


def test_hub_that_cannot_be_reached_is_named(finder: Callable[[Hub], Finder], closed_port: int) -> None:
    """The host is what to look at first: a mirror that was moved, a proxy, no network."""
    find = finder(Hub(endpoint=f"http://someone:secret@127.0.0.1:{closed_port}"))

    said = problem(find)

    assert said.startswith(f"127.0.0.1:{closed_port} cannot be reached: ")
    assert "hub.endpoint" in said
    assert "secret" not in said


@pytest.fixture
def closed_port() -> int:
    """A port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def test_storage_that_cannot_be_reached_is_told_from_the_hub(
    hub: HubServer, find: Finder, closed_port: int
) -> None:
    """Firewalls that let the hub through forget the hosts that keep its large files."""
    hub.cdn = f"http://127.0.0.1:{closed_port}/signed?secret"

    said = problem(find)

    assert said.startswith(
        f"127.0.0.1:{closed_port}, where {hub.host} keeps large files, cannot be reached: "
    )
    assert "signed" not in said


def test_storage_that_refuses_is_told_from_the_hub(hub: HubServer, find: Finder) -> None:
    """The repository's name and the token are not what is wrong."""
    hub.faults.append(Fault(hub.repositories["org/model"].sha256("model.safetensors"), status=403))

    assert problem(find) == (
        f"{urlsplit(hub.cdn).netloc}, where {hub.host} keeps large files, answers 403; check proxies and "
        "firewalls, and try again"
    )


@pytest.mark.parametrize("token", ["hf_sécret", "hf_sec\nret", "hf_sec ret", "hf_sec\0ret"])
def test_token_that_cannot_be_sent_is_told_and_not_repeated(
    hub: HubServer, finder: Callable[[Hub], Finder], tmp_path: Path, token: str
) -> None:
    """Somebody has copied too much; it is not the hub that is wrong."""
    (tmp_path / "secret").write_text(token, encoding="utf-8")

    said = problem(finder(Hub(endpoint=hub.url, token=f"file:{tmp_path}/secret")))

    assert said.startswith("the token holds characters that no token has; check hub.token, HF_TOKEN or")
    assert "hf_" not in said
    assert hub.seen == []


def test_login_that_cannot_be_read_is_told(find: Finder, tmp_path: Path) -> None:
    """The file is the hub's own tools', and somebody has damaged it."""
    (tmp_path / "token").write_bytes(b"\xff\xfe")

    assert problem(find).startswith("the login of the hub's own tools cannot be read; set hub.token")


@pytest.mark.parametrize(
    "content",
    [b"[]", b"[" * 100_000, b'{"id": [], "siblings": 1}', b'{"id": "m", "siblings": [{"rfilename": ["a"]}]}'],
)
def test_listing_that_is_no_listing_is_no_hub(hub: HubServer, find: Finder, content: bytes) -> None:
    """Whatever answers in its place, nobody should have to read a traceback."""
    hub.faults.append(Fault("/api/", json=content))

    assert "does not answer as a hub does" in problem(find)


@pytest.mark.parametrize("endpoint", ["http://[::1", "http://hub:secret"])
def test_address_that_is_none_is_told(finder: Callable[[Hub], Finder], endpoint: str) -> None:
    """A typing error in the file; it is not repeated, because a password may have caused it."""
    assert problem(finder(Hub(endpoint=endpoint))) == (
        "the address of the hub cannot be read; check hub.endpoint and HF_ENDPOINT"
    )


def test_silent_hub_is_given_up(hub: HubServer, finder: Callable[[Hub], Finder]) -> None:
    """Something that accepts connections and never answers must not hold a start up for ever."""
    hub.faults.append(Fault("/api/", silent=True))

    said = problem(finder(Hub(endpoint=hub.url, timeout_seconds=0.1)))

    assert said.startswith(f"{hub.host} was silent for 0.1 seconds")
    assert len(hub.seen) == 1


@pytest.mark.parametrize("where", ["/api/", "tokenizer.json"])
def test_hub_that_stays_broken_is_told(hub: HubServer, find: Finder, where: str) -> None:
    """After a few tries it is the hub's own trouble."""
    hub.faults.append(Fault(where, status=503))

    assert problem(find) == f"{hub.host} answers 503, again and again; try again later"
    assert len([one for one in hub.seen if where in one.path]) == 4


def test_hub_that_wants_to_be_left_alone_is_told(hub: HubServer, find: Finder) -> None:
    """Calls without a token are limited more strictly."""
    hub.faults.append(Fault("/api/", status=429))

    assert problem(find) == (
        f"{hub.host} answers 429, too many requests, again and again; wait, or set hub.token for "
        "higher limits"
    )


def test_page_for_people_instead_of_a_listing_is_no_hub(hub: HubServer, find: Finder) -> None:
    """Sign-in pages of proxies answer everything with 200."""
    hub.faults.append(Fault("/api/", html=True))

    assert problem(find) == (
        f"{hub.host} does not answer as a hub does; check hub.endpoint, HF_ENDPOINT and proxies"
    )


@pytest.mark.parametrize("name", ["tokenizer.json", "model.safetensors"])
def test_page_for_people_instead_of_a_file_is_not_kept(
    hub: HubServer, find: Finder, hub_cache: Path, name: str
) -> None:
    """What arrives is checked against the hash that the hub announced, small files too."""
    repository = hub.repositories["org/model"]
    hub.faults.append(Fault(repository.etag(name) if repository.is_large(name) else name, html=True))
    if repository.is_large(name):
        repository.announced[name] = 37  # as long as the page, so that only the hash tells

    said = problem(find)

    assert said.startswith(f"{name} of hf:org/model at {COMMIT[:12]} arrived damaged: its hash is ")
    assert repository.etag(name) not in {path.name for path in hub_cache.rglob("*") if path.is_file()}


def test_answer_about_another_commit_is_no_hub(hub: HubServer, find: Finder) -> None:
    """A mirror that ignores the revision would give other weights under this name."""
    hub.repositories["org/model"].answers_with = "e" * 40

    assert "does not answer as a hub does" in problem(find)


def test_full_disk_is_told_before_anything_is_downloaded(hub: HubServer, find: Finder) -> None:
    """The hub tells sizes; hours of downloading would be in vain."""
    hub.repositories["org/model"].announced["model.safetensors"] = 10**18

    said = problem(find)

    assert said.startswith(f"the disk is full: hf:org/model at {COMMIT[:12]} needs 1,000,000,000,000 MB in ")
    assert "set HF_HUB_CACHE to a larger disk" in said
    assert hub.fetched() == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_disk_that_fills_up_meanwhile_is_told(hub: HubServer, find: Finder, hub_cache: Path) -> None:
    """Others write to the same disk."""
    blobs = hub_cache / "models--org--model" / "blobs"
    blobs.mkdir(parents=True)
    sha256 = hub.repositories["org/model"].sha256("model.safetensors")
    (blobs / f"{sha256}.incomplete").symlink_to("/dev/full")

    said = problem(find)

    assert said.startswith(
        f"the disk is full: model.safetensors of hf:org/model at {COMMIT[:12]} does not fit"
    )


def test_cache_that_cannot_be_written_to_is_named(hub: HubServer, find: Finder, hub_cache: Path) -> None:
    """Containers often have a read-only home."""
    hub_cache.write_text("a file, where a folder should be", encoding="utf-8")

    assert f"cannot be kept in {hub_cache}: " in problem(find)
    assert hub.fetched() == []
