"""No network unless asked: what trains tells nobody that it does."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("huggingface_hub")

REPORTS = """
from harness.worker.__main__ import set_environment
set_environment(1)
from huggingface_hub.utils import _telemetry, send_telemetry
send_telemetry("trl")  # what TRL's trainers call when they are built
print("a report" if _telemetry._TELEMETRY_THREAD else "nothing")
"""


def said(**variables: str) -> str:
    quiet = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DISABLE_TELEMETRY", "DO_NOT_TRACK")
    environment = {name: value for name, value in os.environ.items() if name not in quiet} | variables
    environment["HF_ENDPOINT"] = "http://127.0.0.1:9"  # a report that is sent goes nowhere
    return subprocess.run([sys.executable, "-c", REPORTS], env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_a_worker_reports_its_use_to_nobody() -> None:
    assert said() == "nothing"


def test_who_wants_to_report_may() -> None:
    assert said(HF_HUB_DISABLE_TELEMETRY="0") == "a report"
