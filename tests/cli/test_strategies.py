"""`halfway strategies`, `check` and `new-strategy` as a person and a script use them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli.strategies import strategy_rows
from harness.cli.strategy_template import write_package
from harness.errors import UserError
from harness.registry import BUILTIN_STRATEGIES
from harness.testing.strategy_contract import PROMISES


def test_every_shipped_strategy_says_what_it_does() -> None:
    """What it observes, where it acts, what it costs and where it runs; every setting has a description."""
    rows = {row["name"]: row for row in strategy_rows([])}
    assert set(BUILTIN_STRATEGIES) <= set(rows)
    for name in BUILTIN_STRATEGIES:
        row = rows[name]
        assert all(row[key] for key in ("summary", "observes", "acts", "costs")), name
        assert row["source"] or "control" in row["summary"] or "upper bound" in row["summary"], name
        assert row["backends"]["trl"] == ""
        assert all(setting["description"] for setting in row["settings"].values()), name


def test_tuning_ranges_hold_the_defaults() -> None:
    """A declared range is a range, a choice is a list, and the shipped default lies in it."""
    from harness.registry import strategy_entry
    from harness.suite.tuning_table import Range

    declared = 0
    for name in BUILTIN_STRATEGIES:
        entry = strategy_entry(name)
        for part in (entry.composition.selector, entry.composition.replay):
            for key, field in part.Config.model_fields.items():
                extra = field.json_schema_extra
                if not isinstance(extra, dict) or "tune" not in extra:
                    continue
                declared += 1
                Range.model_validate(extra["tune"])
                tune, default = dict(extra["tune"]), field.default
                inside = default in tune["choices"] if "choices" in tune else tune["low"] <= default <= tune["high"]
                assert inside, (name, key, default, tune)
    assert declared > 30


def test_what_can_be_tuned_declares_where() -> None:
    """Every method with settings has a range, but for the oracle, which is a bound, and the choices of cdas and frontier; grpo has none."""
    without = [row["name"] for row in strategy_rows([], list(BUILTIN_STRATEGIES)) if not any(s["tune"] for s in row["settings"].values())]
    assert without == ["grpo", "oracle", "frontier", "cdas"]
    assert not any(row["settings"] for row in strategy_rows([], ["grpo"]))


def test_the_table_and_one_strategy(place) -> None:
    """The table has a row per strategy; a name, also a combined one, shows its settings; a wrong one is answered with a message."""
    table = place.halfway("strategies").stdout
    assert "observes" in table.splitlines()[0]
    assert [line.split()[0] for line in table.splitlines()[1:]][: len(BUILTIN_STRATEGIES)] == list(BUILTIN_STRATEGIES)
    one = place.halfway("strategies", "mopps+rr").stdout
    assert "candidate_factor = 16" in one
    assert "capacity = 256" in one
    assert "[tuned: 0.3 to 1.0]" in one
    assert "[tuned: one of [64, 128, 256, 512]]" in one
    assert "Each step draws γ̂_i ~ Beta(α_i, β_i)" in one  # the rule of the selector, and that of the replay
    assert "drawn uniformly from the last C groups" in one
    (row,) = json.loads(place.halfway("strategies", "mopps+rr", "--json").stdout)
    assert row["requires"] == ["behaviour_log_probs"]
    assert row["settings"]["candidate_factor"]["tune"] is None
    wrong = place.halfway("strategies", "mops")
    assert wrong.returncode != 0
    assert "did you mean 'mopps'" in wrong.stderr


def test_a_new_package_works_as_it_is(place) -> None:
    """Three files; the strategy keeps every promise from where it was written, by the name that was given."""
    made = place.halfway("new-strategy", "near-half")
    assert made.returncode == 0, made.stderr
    folder = place.folder / "near-half"
    assert sorted(f.name for f in folder.iterdir()) == ["near_half.py", "pyproject.toml", "test_near_half.py"]
    (place.folder / "near_half.py").write_text((folder / "near_half.py").read_text())
    checked = place.halfway("check", "near-half", "--plugin", "near_half:NearHalf", "--json")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert [row["check"] for row in json.loads(checked.stdout)] == list(PROMISES)


def test_a_broken_promise_is_shown_and_fails(place) -> None:
    """The table says which promise, what was seen, and the exit code is 1."""
    (place.folder / "mine.py").write_text(
        "from harness.strategies.uniform import Uniform\n"
        "class Leaky(Uniform):\n"
        "    'Reads a file.'\n"
        "    def select(self, n, ctx):\n"
        "        open('/etc/hosts').close()\n"
        "        return super().select(n, ctx)\n"
    )
    done = place.halfway("check", "leaky", "--plugin", "mine:Leaky")
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("no evaluation data")]
    assert "NO" in line
    assert "/etc/hosts" in line
    assert done.stdout.splitlines()[-1] == f"leaky keeps {len(PROMISES) - 1} of {len(PROMISES)} promises"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Near-Half", "cannot be a strategy's name"),
        ("near_half", "cannot be a strategy's name"),
        ("-half", "cannot be a strategy's name"),
        ("class", "cannot be a strategy's name"),
        ("mopps", r"already \(built in\)"),
        ("taken", "exists already"),
    ],
)
def test_a_name_that_is_no_good_writes_nothing(name: str, words: str, tmp_path: Path) -> None:
    """Bad and taken names are errors with a message, and leave the folder as it was."""
    (tmp_path / "taken").mkdir()
    with pytest.raises(UserError, match=words):
        write_package(name, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]
    assert not list((tmp_path / "taken").iterdir())


def test_the_docs_table_is_this_version() -> None:
    """What docs/strategies.md says of every strategy is what `halfway strategies` says; renewed by benchmarks.field --methods-only."""
    from benchmarks.field import methods_markdown

    document = Path(__file__).parents[2] / "docs" / "strategies.md"
    assert methods_markdown(row for row in strategy_rows([]) if row["origin"] == "built in") in document.read_text(encoding="utf-8")


def test_the_field_tables_by_hand(tmp_path: Path) -> None:
    """Medians as they are, a ratio with its interval, a bound where the target was missed, 1 for the baseline; put between its marks."""
    import pandas as pd

    from benchmarks.field import costs_markdown, insert, targets_markdown

    nan, inf = float("nan"), float("inf")
    columns = [
        "fresh_rollouts", "probe_rollouts", "filtered_rollouts", "replayed_rollouts", "n", "reached", "non_degenerate_share",
        "seconds_per_step", "final_accuracy_median", "median_training_steps",
        "median_generated_tokens", "at_least_generated_tokens", "at_most_generated_tokens", "low_generated_tokens", "high_generated_tokens",
        "median_training_seconds", "at_least_training_seconds", "at_most_training_seconds", "low_training_seconds", "high_training_seconds",
    ]  # fmt: skip
    rows = {
        "grpo": [256, 0, 0, 0, 3, 3, 0.5, 1, 0.7, 34, 77_000, nan, nan, nan, nan, 20, nan, nan, nan, nan],
        "late": [256, 0, 0, 0, 3, 0, 0.5, 1, 0.7, inf, inf, 0, 0.8, 0, 0.9, inf, 0, 0.7, 0, 0.8],
        "soon": [128, 0, 9, 128, 2, 2, 0.5, 1.5, 0.7, 30, 44_000, 1.75, 1.75, 1.5, 2.0, 11.4, 1.754, 1.754, nan, nan],
    }
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    costs, targets = costs_markdown(table).splitlines(), targets_markdown(table).splitlines()
    assert costs[2] == "| `grpo` | 3 | 0.50 | 256 | 0 | 0 | 0 | 1.00 |"
    assert costs[4] == "| `soon` | 2 | 0.50 | 128 | 0 | 9 | 128 | 1.50 |"
    assert targets[2] == "| `grpo` | 3 of 3 | 34 | 77 k | 1 | 20.0 | 1 | 0.700 |"
    assert targets[3] == "| `late` | 0 of 3 | – | – | at most 0.80× [0.00, 0.90] | – | at most 0.70× [0.00, 0.80] | 0.700 |"
    assert targets[4] == "| `soon` | 2 of 2 | 30 | 44 k | 1.75× [1.50, 2.00] | 11.4 | 1.75× no interval | 0.700 |"
    document = tmp_path / "page.md"
    document.write_text("before\n<!-- field -->\nold\n<!-- /field -->\nafter\n")
    insert(document, "field", "new")
    assert document.read_text() == "before\n<!-- field -->\nnew\n<!-- /field -->\nafter\n"
    with pytest.raises(SystemExit, match="no place marked other"):
        insert(document, "other", "new")
