"""Service: whether one text follows from another, and which labels fit a text."""
