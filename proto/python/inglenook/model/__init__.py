"""The model packages."""

