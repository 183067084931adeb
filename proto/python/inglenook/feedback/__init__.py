"""The feedback packages."""

