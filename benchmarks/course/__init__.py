"""A course is all runs of a suite, finished and kept: its archive, its facts and its analysis."""
