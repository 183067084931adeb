"""Measures what the documentation claims. `make bench` prints ratios taken in one run."""
