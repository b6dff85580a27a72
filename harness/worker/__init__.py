"""One attempt at a run, in a process of its own: ``python -m harness.worker``."""
