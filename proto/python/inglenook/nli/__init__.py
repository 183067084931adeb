"""The nli packages."""

