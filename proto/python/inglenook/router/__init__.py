"""The router packages."""

