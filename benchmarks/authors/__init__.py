"""Comparisons of our rules with the authors' own code, one file per family of strategies; run by ``benchmarks/against_authors.py``."""
