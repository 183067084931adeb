"""Service: documents by relevance to a query."""
