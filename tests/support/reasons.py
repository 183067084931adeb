"""Error reasons as method comments of the contract state them."""

from __future__ import annotations

import re
from typing import Final

STATED: Final = re.compile(r"\b([A-Z][A-Z_]+) with ([^;.]*)")
REASON: Final = re.compile(r"\b[A-Z][A-Z_]*[A-Z]\b")


def reasons_by_code(comment: str) -> dict[str, set[str]]:
    """Return the reasons that a method comment lists after `Errors:`, by status code.

    The form is `Errors: CODE with REASON, REASON or REASON; CODE with REASON.`
    """
    _, _, errors = comment.partition("Errors:")
    return {code: set(REASON.findall(reasons)) for code, reasons in STATED.findall(errors)}
