"""Halfway's referee: types, strategies, ledger, clock, statistics, runner and command line.

Nothing in this package imports torch, transformers, TRL or verl at module level, and nothing imports
``backends``, ``suites`` or ``reports``; those are reached through lazy ``"module:attr"`` strings
(see :mod:`harness.registry`). Import-linter contracts in ``pyproject.toml`` hold this.
"""

__version__ = "0.2.0.dev0"
