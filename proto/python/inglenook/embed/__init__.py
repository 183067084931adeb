"""The embed packages."""

