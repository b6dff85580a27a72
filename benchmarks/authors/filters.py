"""Filters and down-sampling: GRESO, PODS."""

COMPARISONS = []
