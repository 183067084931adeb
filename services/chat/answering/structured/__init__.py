"""Answers that have to be JSON: how a model is asked for them, and whether one is.

Schemas are JSON Schema, draft 2020-12 (https://json-schema.org/draft/2020-12). `format` is a note, as the
draft has it. Nothing is fetched: references lead within the schema.
"""

from services.chat.answering.structured.answers import extract, problem
from services.chat.answering.structured.schemas import schema_problem
from services.chat.answering.structured.words import prepare, repair

__all__ = ["extract", "prepare", "problem", "repair", "schema_problem"]
