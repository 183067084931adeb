"""The rules of the house that neither a linter nor the import contracts can check."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, TypeAlias

ROOT: Final = Path(__file__).parents[2]
GENERATED: Final = "proto/python/"

MAX_FILE_LINES: Final = 500
MAX_FUNCTION_LINES: Final = 40
MAX_POSITIONAL_PARAMETERS: Final = 5

STORIES: Final = ("tests/integration/", "tests/e2e/")
"""Where tests watch processes start, leave and die, and may number what happens."""

# In pieces, so that this file passes its own tests.
REGISTRY_HOSTS: Final = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("registry", "yarnpkg", "com"),
        ("proxy", "golang", "org"),
        ("crates", "io"),
    )
)
PRIVATE_FOLDERS: Final = tuple(f"/{name}/" for name in ("work", "root", "Users"))

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def texts() -> dict[str, str]:
    """Return every text file of the repository that git tracks or would track, by path."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found: dict[str, str] = {}
    for name in sorted(set(listed.split("\0")) - {""}):
        if (ROOT / name).is_file():  # else: deleted, and git has not been told
            content = (ROOT / name).read_bytes()
            if b"\0" not in content:
                found[name] = content.decode("utf-8", errors="replace")
    return found


@cache
def modules() -> dict[str, ast.Module]:
    """Return the syntax tree of every Python file that people write, by path."""
    return {
        name: ast.parse(text)
        for name, text in texts().items()
        if name.endswith(".py") and not name.startswith(GENERATED)
    }


def functions(folder: str) -> Iterator[tuple[str, Function]]:
    """Yield every function below a folder, methods and nested ones included, with its place."""
    for name, module in modules().items():
        if name.startswith(folder):
            for node in ast.walk(module):
                if isinstance(node, Function):
                    yield f"{name}:{node.lineno} {node.name}", node


def docstring_node(node: Function) -> ast.expr | None:
    """Return the docstring's expression, if the function has one."""
    first = node.body[0]
    return first.value if isinstance(first, ast.Expr) and ast.get_docstring(node) is not None else None


def body_lines(node: Function) -> int:
    """Return how many lines a function has from its first statement on, the docstring not counted."""
    body = node.body[1:] if docstring_node(node) else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def positional_parameters(node: Function) -> list[str]:
    """Return the parameters that may be passed by position, without the object or class itself."""
    names = [one.arg for one in (*node.args.posonlyargs, *node.args.args)]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def test_no_file_is_too_long_to_be_read_in_one_go() -> None:
    """A Python file that people write has at most 500 lines."""
    lengths = {name: len(texts()[name].splitlines()) for name in modules()}
    assert {name: length for name, length in lengths.items() if length > MAX_FILE_LINES} == {}


def test_no_function_of_the_services_is_too_long_to_be_seen_at_once() -> None:
    """A function of the services has at most 40 lines, its docstring not counted."""
    lengths = {place: body_lines(node) for place, node in functions("services/")}
    assert {place: length for place, length in lengths.items() if length > MAX_FUNCTION_LINES} == {}


def test_no_function_of_the_services_takes_many_positional_parameters() -> None:
    """A call with more than 5 arguments by position cannot be read without looking the function up."""
    taken = {
        place: len(positional_parameters(node))
        for place, node in functions("services/")
        if not place.startswith("services/cli/commands/")  # their parameters are options, filled in by name
    }
    assert {place: count for place, count in taken.items() if count > MAX_POSITIONAL_PARAMETERS} == {}


def test_every_test_says_in_one_sentence_what_it_promises() -> None:
    """The docstring of a test is one line and ends with a full stop; only the story of a process goes on."""
    silent = []
    for place, node in functions("tests/"):
        if node.name.startswith("test_"):
            promise, _, story = (ast.get_docstring(node) or "").partition("\n")
            if not promise.endswith(".") or (story and not place.startswith(STORIES)):
                silent.append(place)
    assert silent == []


def test_no_file_names_the_host_of_a_package_registry() -> None:
    """Which mirror packages come from is up to the machine's own settings, so no file may decide it."""
    assert [(name, host) for name, text in texts().items() for host in REGISTRY_HOSTS if host in text] == []


def test_no_file_names_a_folder_of_a_developers_machine() -> None:
    """What is committed works in any folder on any machine."""
    assert [
        (name, place) for name, text in texts().items() for place in PRIVATE_FOLDERS if place in text
    ] == []


def test_a_package_of_services_either_runs_or_says_that_it_is_a_library() -> None:
    """A newcomer sees from `__main__.py` what can be started, and from the first word what cannot."""
    unclear = []
    for name, module in modules().items():
        folder, _, file = name.rpartition("/")
        if folder.count("/") == 1 and folder.startswith("services/") and file == "__init__.py":
            is_library = (ast.get_docstring(module) or "").startswith("Library: ")
            if is_library == (f"{folder}/__main__.py" in modules()):
                unclear.append(folder)
    assert unclear == []


def test_the_environment_is_read_in_one_module() -> None:
    """What a process depends on can be seen in one place, whatever a linter has been told to overlook."""
    readers = {
        name
        for name, module in modules().items()
        if not name.startswith("tests/")
        for node in ast.walk(module)
        if _reads_environment(node)
    }
    assert readers == {"services/config/environment.py"}


def _reads_environment(node: ast.AST) -> bool:
    names = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
    if isinstance(node, ast.ImportFrom):
        return node.module == "os" and any(one.name in names for one in node.names)
    of_os = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
    return isinstance(node, ast.Attribute) and of_os and node.attr in names
