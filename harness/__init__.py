"""The referee: types, strategies, the step driver, records, statistics, the runner and the command line.

Only :mod:`harness.predictor.lab` imports torch. Nothing here imports TRL, verl, ``backends``, ``suites`` or ``reports`` at module
level: these are reached through lazy ``"module:attr"`` strings (see :mod:`harness.registry`). The import contracts in
``pyproject.toml`` enforce this; ``docs/architecture.md`` shows them.
"""

__version__ = "0.2.0.dev0"
