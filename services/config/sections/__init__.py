"""The sections of `inglenook.toml`, one module per concern, put together in `configuration.py`."""
