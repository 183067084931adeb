"""External LLM APIs: what is asked of them, how they answer, how they fail.

Three things are kept apart. A *dialect* (`ollama`, `openai`, `anthropic`, `gemini`) is a pure mapping
between the domain and a wire format: no socket, no clock. A *connection* moves bytes over HTTP. *Facts*
(`facts`, the sheets of `openai`) are data. A *provider* (`provider`) puts the three together.
"""
