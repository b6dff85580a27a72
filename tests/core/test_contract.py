"""`halfway check`: every shipped strategy keeps the contract, and each promise catches a strategy that breaks it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.registry import BUILTIN_STRATEGIES, Composition, RegistryError, strategy_entry, strategy_references
from harness.strategies.uniform import Uniform
from harness.strategy import Selector, StepContext, StrategyConfig
from harness.testing import PROMISES, check_strategy
from harness.types import PromptGroup, Selection


@pytest.mark.parametrize("name", sorted(BUILTIN_STRATEGIES))
def test_shipped_strategies_keep_every_promise(name: str) -> None:
    """The contract that plugins are held to holds for our own."""
    promises = check_strategy(name)
    assert [p.name for p in promises] == list(PROMISES)
    assert not [p for p in promises if not p.passed]


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("dots", {"references": 16, "history": True, "reference_set": "diverse", "reuse_references": True}),
        ("dots-rr", {"references": 16, "calibration": "platt+linear", "admission": "all", "replay_after": 2}),
    ],
)
def test_their_settings_keep_every_promise(name: str, config: dict[str, Any]) -> None:
    """The contract holds for other settings than the defaults."""
    assert not [p for p in check_strategy(name, config=config) if not p.passed]


class GlobalRandom(Selector[StrategyConfig]):
    """Draws from numpy's global state."""

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        return Selection(np.random.permutation(len(ctx.pool))[:num_groups])


class Forgetful(Uniform):
    """Loses its place when it is saved."""

    def state_dict(self) -> dict[str, Any]:
        return {"drawn": 0}


class Tampering(Uniform):
    """Rewrites the behaviour log-probs of what it is shown."""

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        for group in groups:
            for rollout in group.rollouts:
                assert rollout.behaviour_log_probs is not None
                rollout.behaviour_log_probs[:] = 0


class Greedy(Selector[StrategyConfig]):
    """Takes one question more than asked for."""

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        return Selection(ctx.rng.permutation(len(ctx.pool))[: num_groups + 1])


class Unpicklable(Uniform):
    """Holds a function that no other process can import."""

    def __init__(self, config: StrategyConfig) -> None:
        super().__init__(config)
        self.hook = lambda: None


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (GlobalRandom, "deterministic under the seed"),
        (Forgetful, "state round trip"),
        (Tampering, "switched-off identity"),
        (Greedy, "legal selections"),
        (Unpicklable, "picklable"),
    ],
)
def test_a_broken_strategy_is_caught(broken: type[Selector[Any]], promise: str) -> None:
    """Each promise is broken by a strategy made to break it."""
    name = broken.__name__.lower()
    results = {p.name: p for p in check_strategy(name, plugins=[f"{__name__}:{broken.__name__}"])}
    assert not results[promise].passed
    assert results[promise].message


class TwoNames(Selector[StrategyConfig]):
    name = "grpo"


class AlphaConfig(StrategyConfig):
    capacity: int = 3


class Clashing(Selector[AlphaConfig]):
    Config = AlphaConfig


def test_names_claimed_twice_name_both_parties() -> None:
    """A plugin cannot silently replace a shipped strategy."""
    with pytest.raises(RegistryError, match=r"'grpo' is claimed twice: by built in and by --plugin .*TwoNames"):
        strategy_references([f"{__name__}:TwoNames"])


def test_an_installed_package_registers_its_strategy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the entry-point group, as pip leaves it: found by name, listed with its package, held to the contract."""
    (tmp_path / "field_plugin.py").write_text(
        "from harness.strategies.uniform import Uniform\n\nclass Field(Uniform):\n    'A plugin.'\n", encoding="utf-8"
    )
    info = tmp_path / "field_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: field-plugin\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[halfway.strategies]\nfield = field_plugin:Field\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert strategy_references()["field"] == ("package field-plugin", "field_plugin:Field")
    assert not [p for p in check_strategy("field") if not p.passed]


def test_settings_that_both_parts_have_are_refused() -> None:
    """A composition with an ambiguous setting says which."""
    from harness.registry import _entry
    from harness.strategies.fifo import FifoReplay

    with pytest.raises(RegistryError, match="setting 'capacity'"):
        _entry("clash", "test", Composition(Clashing, FifoReplay))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: strategy_entry("dots-r"), "did you mean 'dots-rr'"),
        (lambda: strategy_entry("rr").resolve_config({"capacty": 1}), "did you mean 'capacity'"),
        (lambda: strategy_entry("rr").resolve_config({"fresh_fraction": 2}), "less than or equal to 1"),
        (lambda: strategy_entry("x", ["no_such_module:X"]), "no module named 'no_such_module'"),
        (lambda: strategy_entry("x", ["harness.types:Costs"]), "unknown strategy"),
    ],
)
def test_mistakes_are_answered_with_a_suggestion(call: Any, words: str) -> None:
    """Unknown names and settings are errors that help."""
    with pytest.raises(RegistryError, match=words):
        call()


def test_resolved_configs_show_every_setting() -> None:
    """paper and code variants are explicit settings, visible with their defaults."""
    config = strategy_entry("dots-rr").resolve_config({"references": 16})
    assert config["references"] == 16
    assert (config["calibration"], config["admission"], config["clip_center"], config["weight_cap"]) == (
        "platt",
        "informative",
        "old",
        None,
    )
    assert (config["alpha"], config["tau"], config["interval"], config["fresh_fraction"]) == (0.5, 1e-3, 2, 0.5)
