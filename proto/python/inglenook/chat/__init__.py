"""The chat packages."""

