"""The entry point of `inglenook`."""

from __future__ import annotations

import sys
from pathlib import Path
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
from services.cli.commands.keys import keys  # noqa: E402
from services.cli.commands.models import models  # noqa: E402
from services.cli.commands.nli import nli  # noqa: E402
from services.cli.commands.reload import reload  # noqa: E402
from services.cli.commands.rerank import rerank  # noqa: E402
from services.cli.commands.status import status  # noqa: E402
from services.cli.commands.tokens import tokens  # noqa: E402
from services.cli.commands.up import up  # noqa: E402
from services.cli.connection import CHOSEN, Chosen  # noqa: E402
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
def options(  # noqa: PLR0913  # each is an option
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    *,
    tls_ca: Annotated[
        Path | None,
        typer.Option("--tls-ca", metavar="FILE", help="Speak TLS, and trust these authorities (PEM)."),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", metavar="FILE", help="Certificate chain to show (PEM).")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", metavar="FILE", help="Key of that certificate (PEM).")
    ] = None,
    tls_name: Annotated[
        str | None,
        typer.Option("--tls-name", metavar="NAME", help="Name that the router's certificate is for."),
    ] = None,
    api_key_env: Annotated[
        str | None,
        typer.Option(
            "--api-key-env",
            metavar="NAME",
            help=f"Environment variable with the API key. Default: {environment.API_KEY_VARIABLE}.",
        ),
    ] = None,
) -> None:
    """Run a command; `ABOUT` is what `--help` prints."""
    del version
    CHOSEN.set(Chosen(tls_ca, tls_cert, tls_key, tls_name, api_key_env))


app.command()(up)
app.command()(status)
app.command()(reload)
app.command()(chat)
app.command()(embed)
app.command()(rerank)
app.command()(nli)
app.command()(classify)
app.command()(tokens)
app.add_typer(models, name="models")
app.add_typer(keys, name="keys")
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
