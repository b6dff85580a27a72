"""The scorekeeper: run records in, one self-contained page with tables and figures out. Knows nothing of training."""
