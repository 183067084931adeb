"""`inglenook demo`: real texts through the router, and what came back."""

from services.cli.commands.demo.command import demo

__all__ = ["demo"]
