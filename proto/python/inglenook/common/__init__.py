"""The common packages."""

