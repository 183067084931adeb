"""The entry point of `inglenook`."""

from __future__ import annotations

from typing import Annotated

import typer

from services.config import environment
from services.version import VERSION

environment.prepare_native_libraries()

# Only now: importing the commands imports gRPC, which reads its environment once.
from services.cli.commands.demo import demo  # noqa: E402
from services.cli.commands.embed import embed  # noqa: E402
from services.cli.commands.models import models  # noqa: E402
from services.cli.commands.status import status  # noqa: E402
from services.cli.commands.up import up  # noqa: E402

app = typer.Typer(
    name="inglenook",
    help="A local-first inference cluster: embeddings and more behind one router.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"inglenook {VERSION}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A local-first inference cluster: embeddings and more behind one router."""
    del version


app.command()(up)
app.command()(status)
app.command()(embed)
app.add_typer(models, name="models")
app.command()(demo)


def main() -> None:
    """Run the tool."""
    app()
