"""Replay: RePO, FreshPER, ARPO."""

COMPARISONS = []
