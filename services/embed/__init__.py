"""Service: text to embedding."""
