"""Calls as items: each text or pair is looked up by itself, and only what is missing is asked for."""
