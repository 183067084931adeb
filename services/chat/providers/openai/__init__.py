"""Chat Completions: OpenAI's API and the many services and servers that speak it, each with oddities."""
