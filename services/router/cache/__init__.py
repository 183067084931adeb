"""Answers that are kept: by what they are found, where they are, and one computation for all who wait."""
