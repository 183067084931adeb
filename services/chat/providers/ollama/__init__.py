"""Ollama, asked over its own API.

Never over its OpenAI-compatible one, which swallows errors in the middle of a stream, forces sampling
parameters, and has no words for the context length or for how long a model stays in memory. The wire is
described at https://docs.ollama.com/api and defined by `api/types.go` of its source.
"""
