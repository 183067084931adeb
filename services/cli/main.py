"""The entry point of `inglenook`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from services.config import environment
from services.version import VERSION

environment.prepare_native_libraries()

# Only now: importing the commands imports gRPC, which reads its environment once.
from services.cli.commands.chat import chat  # noqa: E402
from services.cli.commands.classify import classify  # noqa: E402
from services.cli.commands.demo import demo  # noqa: E402
from services.cli.commands.embed import embed  # noqa: E402
from services.cli.commands.models import models  # noqa: E402
from services.cli.commands.nli import nli  # noqa: E402
from services.cli.commands.rerank import rerank  # noqa: E402
from services.cli.commands.status import status  # noqa: E402
from services.cli.commands.tokens import tokens  # noqa: E402
from services.cli.commands.up import up  # noqa: E402
from services.cli.console import EXIT_MISCONFIGURED  # noqa: E402

ABOUT = (
    "A local-first inference cluster: embeddings, reranking, natural language inference and more behind one "
    "router."
)

app = typer.Typer(
    name="inglenook",
    help=ABOUT,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"inglenook {VERSION}")
        raise typer.Exit


@app.callback(help=ABOUT)
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Run a command; `ABOUT` is what `--help` prints."""
    del version


app.command()(up)
app.command()(status)
app.command()(chat)
app.command()(embed)
app.command()(rerank)
app.command()(nli)
app.command()(classify)
app.command()(tokens)
app.add_typer(models, name="models")
app.command()(demo)


def main() -> None:
    """Run the tool."""
    for position, argument in enumerate(sys.argv[1:], 1):
        try:
            argument.encode()
        except UnicodeEncodeError:  # bytes of another encoding, which no message could carry
            sys.stderr.write(f"error argument {position} is not UTF-8 text\n")
            sys.exit(EXIT_MISCONFIGURED)
    app()
