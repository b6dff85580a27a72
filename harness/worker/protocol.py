"""What a worker process and its parent agree on: exit codes and environment variables."""

from __future__ import annotations

INTERRUPTED = 75


PARENT_VARIABLE = "HALFWAY_PARENT"
