"""Generate proto/python and proto/inglenook.binpb from proto/inglenook, or check that they are up to date.

    python proto/generate.py           writes them
    python proto/generate.py --check   writes nothing, exits 1 if they would change

Two tools take part. protoc comes from proto/requirements.txt and lives in a virtual environment of
its own (`--protoc`), because the code it writes must run on protobuf versions far older than the one
the services use. mypy-protobuf writes the `.pyi` files, with the comments of the contract as docstrings.
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PYTHON = HERE / "python"
DESCRIPTORS = HERE / "inglenook.binpb"
PLUGINS = Path(sys.executable).parent
HEADER = '"""{doc}"""\n\n'


def main() -> int:
    """Generate or check, as the command line says; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="report differences, change nothing")
    parser.add_argument(
        "--protoc",
        type=Path,
        default=HERE.parent / ".tools" / "proto" / "bin" / "python",
        help="Python interpreter that has the packages of proto/requirements.txt",
    )
    arguments = parser.parse_args()
    if not arguments.protoc.exists():
        parser.error(f"there is no {arguments.protoc}; `make setup` installs it")
    with tempfile.TemporaryDirectory() as temporary:
        generated = Path(temporary)
        generate(arguments.protoc, generated)
        if arguments.check:
            return report(generated)
        shutil.rmtree(PYTHON / "inglenook", ignore_errors=True)
        shutil.copytree(generated / "inglenook", PYTHON / "inglenook")
        shutil.copy(generated / DESCRIPTORS.name, DESCRIPTORS)
    return 0


def generate(protoc: Path, target: Path) -> None:
    """Run protoc and write the packages' `__init__.py` and `py.typed` files into `target`."""
    sources = sorted(str(path.relative_to(HERE)) for path in HERE.glob("inglenook/**/*.proto"))
    subprocess.run(
        [
            str(protoc), "-m", "grpc_tools.protoc", f"--proto_path={HERE}",
            f"--plugin=protoc-gen-mypy={PLUGINS / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={PLUGINS / 'protoc-gen-mypy_grpc'}",
            f"--python_out={target}", f"--grpc_python_out={target}",
            f"--mypy_out=quiet:{target}", f"--mypy_grpc_out=quiet:{target}",
            "--include_imports", "--include_source_info",
            f"--descriptor_set_out={target / DESCRIPTORS.name}",
            *sources,
        ],
        check=True,
    )  # fmt: skip
    for package in sorted({(HERE / source).parent.relative_to(HERE) for source in sources}):
        write_package(target / package, HERE / package)


def write_package(package: Path, sources: Path) -> None:
    """Make `from inglenook.embed.v1 import EmbedRequest` work: no caller should spell `_pb2`."""
    noun = package.parent
    (noun / "__init__.py").write_text(HEADER.format(doc=f"The {noun.name} packages."))
    (noun / "py.typed").touch()
    imports: list[str] = []
    names: list[str] = []
    for module in sorted(path.stem for path in package.glob("*_pb2*.py")):
        public = public_names(package / f"{module}.pyi")
        if not public:  # protoc writes a _pb2_grpc file for every file, with services or without
            (package / f"{module}.py").unlink()
            (package / f"{module}.pyi").unlink()
            continue
        dotted = ".".join(package.parts[-3:]) + f".{module}"
        imports += [f"from {dotted} import (", *(f"    {name}," for name in public), ")"]
        names += public
    document = f"Public names of `{'.'.join(package.parts[-3:])}`."
    listed = "\n".join(f'    "{name}",' for name in sorted(names))
    (package / "__init__.py").write_text(
        HEADER.format(doc=document) + "\n".join(imports) + f"\n\n__all__ = [\n{listed}\n]\n"
    )


def public_names(stub: Path) -> list[str]:
    """Return the messages, enums, enum values, stubs and servicers that a `.pyi` file defines."""
    names: set[str] = set()
    for line in stub.read_text().splitlines():
        if line.startswith("class "):
            name = line.removeprefix("class ").split("(")[0].rstrip(":")
        elif line.startswith("def add_"):
            name = line.removeprefix("def ").split("(")[0]
        elif line[:1].isupper() and ": " in line and "  # " in line:
            name = line.split(":")[0]
        else:
            continue
        if not name.startswith("_") and not name.endswith("AsyncStub") and "___" not in name:
            names.add(name)
    return sorted(names)


def report(generated: Path) -> int:
    """Compare what was generated with what is committed; print every difference."""
    fresh = {path.relative_to(generated) for path in generated.rglob("*") if path.is_file()}
    committed = {
        path.relative_to(PYTHON)
        for path in (PYTHON / "inglenook").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    } | {Path(DESCRIPTORS.name)}
    differing = fresh ^ committed
    for path in fresh & committed:
        other = DESCRIPTORS if path.name == DESCRIPTORS.name else PYTHON / path
        if not filecmp.cmp(generated / path, other, shallow=False):
            differing.add(path)
    for path in sorted(differing):
        sys.stderr.write(f"differs: {path}\n")
    if differing:
        sys.stderr.write("The generated code is not what proto/ says. Run `make proto`.\n")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
