"""The rerank packages."""

