"""`halfway check`: every shipped strategy keeps the contract, and each promise catches a strategy that breaks it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import harness.testing.promises
from harness.backend import WHOLE_GROUPS
from harness.registry import BUILTIN_STRATEGIES, RegistryError, refusal, strategy_entry, strategy_references
from harness.strategies.uniform import Uniform
from harness.strategy import Composition, Selector, StrategyConfig
from harness.testing.strategy_contract import PROMISES, check_strategy


@pytest.fixture
def smaller_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cost per step is tried at a tenth of the sizes, which still grow a hundredfold."""
    monkeypatch.setattr(harness.testing.promises, "LARGE_POOLS", (1_000, 100_000))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*sorted(BUILTIN_STRATEGIES), "mopps+rr", "dapo+aper", "pods+rlep"])
def test_shipped_strategies_keep_every_promise(name: str, smaller_pools: None) -> None:
    """The contract that plugins are held to holds for our own, and for what is combined from them."""
    promises = check_strategy(name)
    assert [p.name for p in promises] == list(PROMISES)
    assert not [p for p in promises if not p.passed]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("dots", {"references": 16, "history": True, "reference_set": "diverse", "reuse_references": True}),
        ("dots-rr", {"variant": "code", "references": 16}),
        ("rr", {"variant": "code", "capacity": 24}),
        ("cures", {"rule": "code"}),
        ("snr-filter", {"score": "std", "top_p": 0.5}),
        ("reinforce-ada", {"exit": "positive", "round_rollouts": 2}),
        ("vip", {"estimator": "rloo", "least": 1.0}),
        ("lilo", {"train_on_probes": True, "probe_rollouts": 4}),
        ("repo", {"adv_norm": "mixed", "retrieval": "random_k", "min_cache_to_replay": 4, "num_replays": 3}),
        ("mopps", {"decay": 0.5}),
    ],
)
def test_their_settings_keep_every_promise(name: str, config: dict[str, Any], smaller_pools: None) -> None:
    """The contract holds for other settings than the defaults."""
    assert not [p for p in check_strategy(name, config=config) if not p.passed]


def test_the_cost_promise_names_its_sizes() -> None:
    """At full size: seconds at ten thousand and a million questions, and the rollouts of a step."""
    (promise,) = check_strategy("mopps", only=["cost per step"])
    assert promise.passed
    assert "ms at 10,000 questions" in promise.message
    assert "ms at 1,000,000 questions; 64 rollouts a step" in promise.message


class Two(Uniform):
    """Not wanted twice."""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mopps+", "not of the form selector+replay"),
        ("mopps+rr+aper", "not of the form selector+replay"),
        ("rr+mopps", "'rr' has a replay of its own; what stands before the plus only selects"),
        ("mopps+dapo", "'dapo' replays nothing"),
        ("mopps+dots-rr", "'dots-rr' has a selector of its own"),
        ("mops+rr", "did you mean 'mopps'"),
    ],
)
def test_combinations_that_make_no_sense_say_why(name: str, words: str) -> None:
    """selector+replay: the wrong order, a missing half, too much, a typing error."""
    with pytest.raises(RegistryError, match=re.escape(words)):
        strategy_entry(name)


def test_a_combination_is_its_parts() -> None:
    """mopps+rr has mopps's selector, rr's replay, the settings and requirements of both, and a plugin's half if it has one."""
    entry = strategy_entry("mopps+rr")
    mopps, rr = strategy_entry("mopps"), strategy_entry("rr")
    assert (entry.composition.selector, entry.composition.replay) == (mopps.composition.selector, rr.composition.replay)
    assert set(entry.fields) == set(mopps.fields) | set(rr.fields)
    assert entry.requires == rr.requires
    plugged = strategy_entry("two+rr", [f"{__name__}:Two"])
    assert plugged.origin == f"--plugin {__name__}:Two"


class Narrow:
    """A backend that trains on whole groups only."""

    name = "narrow"
    capabilities = WHOLE_GROUPS

    def status(self) -> None:
        raise AssertionError("it is refused before it is asked")

    prepare = train = status


def test_a_backend_refuses_what_it_cannot_express() -> None:
    """By name and with a message, before anything starts; a backend that says nothing counts as one for whole groups."""
    assert refusal(strategy_entry("dots-rr"), f"{__name__}:Narrow") == ""
    words = refusal(strategy_entry("pods"), f"{__name__}:Narrow")
    assert "strategy 'pods' cannot run on backend" in words
    assert words.endswith("which does not support groups of different sizes, training on part of a group")
    assert all(refusal(strategy_entry(name), "trl") == "" for name in BUILTIN_STRATEGIES)


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
    assert not [p for p in check_strategy("field", only=["legal selections"]) if not p.passed]


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
        "one",
        None,
    )
    assert (config["alpha"], config["tau"], config["interval"], config["fresh_fraction"]) == (0.5, 1e-3, 2, 0.5)
