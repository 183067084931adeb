"""The version, which the distributions and the changelog repeat; a test compares them."""

from typing import Final

VERSION: Final = "0.1.0"
