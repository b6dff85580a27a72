"""What a suite trains and evaluates on: checks before a run, overlaps between sets, and where every file came from."""
