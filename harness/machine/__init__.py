"""The machine that runs happen on: hardware, installed packages, interpreters, processes."""
