"""The contracts that strategies and backends are held to, shipped so that a plugin's own tests can run them.

``check_strategy`` is what ``halfway check`` runs; ``BackendContract`` is a pytest class to subclass.
"""

from harness.testing.backend_contract import BackendContract
from harness.testing.strategy_contract import check_strategy
from harness.testing.subject import ContractBroken, Promise

__all__ = ["BackendContract", "ContractBroken", "Promise", "check_strategy"]
