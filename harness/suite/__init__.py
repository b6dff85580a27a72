"""Suites: the TOML grid of combinations, strategies and seeds, read strictly and unrolled into runs."""
