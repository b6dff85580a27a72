"""Names by which verl finds Halfway's parts; without an import, so that the configuration can be built without verl."""

from __future__ import annotations

TRAINER = "halfway"
AGENT_LOOP = "halfway"
CPU_ROLLOUT = "halfway_cpu"
CPU_PLUGIN = "backends.verl.cpu.plugin"
#: Field of a prompt in the queue that holds its request: ``prompt`` (token ids), ``row`` (of its first rollout), ``sampling``.
REQUEST = "halfway"
#: Among the extra fields of a rollout that failed: why.
ERROR = "halfway_error"
