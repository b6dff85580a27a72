"""results.csv and the summary, worked out by hand from real ledgers on disk."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import pytest

from harness.errors import UserError
from reports.analysis import analyse
from reports.condensed import condense
from reports.exports.csv_rows import curves_csv, result_rows, summary_rows, to_csv
from reports.phase_costs import break_even_rollout_share
from reports.run_columns import pass_rate_class
from reports.words import overall_sentence
from tests.reports.ledgers import ENVIRONMENT, read, write_run

TARGET = {"share_of_gain": 0.9, "crossing": "sustained"}

#: Start .1, gain .4: the target is .1 + .9·.4 = .46. Reached at the 5th evaluation, step 16; and at the 3rd, step 8.
SLOW = [0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5]
FAST = [0.1, 0.3, 0.5, 0.5, 0.5, 0.5, 0.5]


def three_seeds(folder: Path, *, fast_state: str = "complete") -> list[Path]:
    """grpo: 16 steps of .5 s, 640 tokens each; rr: 8 steps of .4 s, 320 tokens each. Seeds differ in speed by 10 %."""
    return seeds_of(folder, (1.0, 1.1, 0.9), fast_state=fast_state)


def seeds_of(folder: Path, factors: tuple[float, ...], *, fast_state: str = "complete") -> list[Path]:
    """The two arms with one seed per factor of the baseline's pace."""
    paths = []
    for seed, factor in enumerate(factors, start=1):
        paths.append(write_run(folder, "grpo", seed, steps=24, pace=0.5 * factor, accuracies=SLOW))
        paths.append(write_run(folder, "rr", seed, steps=24, pace=0.4, accuracies=FAST, replayed=4, state=fast_state))
    return paths


def rows_of(paths: list[Path], target: dict[str, object] | None = None) -> dict[str, dict[str, object]]:
    """Result rows by strategy."""
    analysis = analyse([condense(log) for log in read(paths)], baseline="grpo", target=target or TARGET)
    return {str(r["strategy"]): r for r in result_rows(analysis)}


def test_a_comparison_worked_out_by_hand(tmp_path: Path) -> None:
    """grpo needs 8.0, 8.8, 7.2 s, rr 3.2 s: ratios 2.5, 2.75, 2.25, median 2.5, that is 60 % saved; tokens 10240/2560 = 4."""
    found = rows_of(three_seeds(tmp_path))
    grpo, rr = found["grpo"], found["rr"]
    assert grpo["target"] == pytest.approx(0.46)
    assert (grpo["median_training_seconds"], grpo["median_generated_tokens"]) == (pytest.approx(8.0), 10240)
    assert grpo["median_training_steps"] == 16
    assert (rr["median_training_seconds"], rr["median_generated_tokens"]) == (pytest.approx(3.2), 2560)
    assert rr["median_rollouts"] == 8 * 32
    assert rr["speedup"] == pytest.approx(2.5)
    assert (rr["low"], rr["high"]) == (pytest.approx(2.25), pytest.approx(2.75))
    assert rr["time_saved_percent"] == pytest.approx(60.0)
    assert rr["verdict"] == "undecided (n = 3, 5 needed)"
    assert rr["speedup_generated_tokens"] == pytest.approx(4.0)
    assert (rr["n"], rr["reached"], rr["reach_rate"]) == (3, 3, 1.0)
    assert rr["rollout_share"] == pytest.approx(0.4)
    assert rr["final_accuracy_median"] == 0.5
    assert rr["probability_of_improvement"] == 1.0
    assert rr["sign_test_p_holm"] == 0.25
    assert grpo["verdict"] is None


def test_five_seeds_can_be_faster(tmp_path: Path) -> None:
    """Ratios 2.5, 2.75, 2.25, 2.6, 2.4: five pairs far above 1, and Student's t agrees."""
    rr = rows_of(seeds_of(tmp_path, (1.0, 1.1, 0.9, 1.04, 0.96)))["rr"]
    assert (rr["verdict"], rr["pairs"], rr["speedup"]) == ("faster", 5, pytest.approx(2.5))
    assert float(str(rr["low"])) > 2


def test_equal_arms_show_no_difference(tmp_path: Path) -> None:
    """The same ledgers under another label: exactly 1, and words that say so."""
    paths = [write_run(tmp_path, label, seed, steps=24, accuracies=SLOW) for label in ("grpo", "twin") for seed in (1, 2, 3)]
    twin = rows_of(paths)["twin"]
    assert (twin["speedup"], twin["low"], twin["high"]) == (1.0, 1.0, 1.0)
    assert twin["verdict"] == "undecided (n = 3, 5 needed)"
    assert twin["time_saved_percent"] == pytest.approx(0.0)


def test_a_strategy_that_never_arrives_is_censored_not_dropped(tmp_path: Path) -> None:
    """rr stays at .3 for 24 steps of .4 s = 9.6 s: +∞ in the median, reach rate 0, at most 8.0/9.6 = .833."""
    paths = [write_run(tmp_path, "grpo", s, steps=24, accuracies=SLOW) for s in range(6)]
    paths += [write_run(tmp_path, "rr", s, steps=24, pace=0.4, accuracies=[0.1] + [0.3] * 6) for s in range(6)]
    rr = rows_of(paths)["rr"]
    assert (rr["median_training_seconds"], rr["reach_rate"]) == (math.inf, 0.0)
    assert (rr["speedup"], rr["at_least"], rr["at_most"]) == (None, 0.0, pytest.approx(8.0 / 9.6))
    assert rr["verdict"] == "slower"
    assert rr["time_saved_percent"] is None


def test_failed_unfinished_and_missing_runs_stay_in_the_table(tmp_path: Path) -> None:
    """One of each for rr: n counts what has a record, the columns name what is wrong, nothing is claimed."""
    paths = [write_run(tmp_path, "grpo", s, steps=24, accuracies=SLOW) for s in (1, 2, 3, 4)]
    paths.append(write_run(tmp_path, "rr", 1, steps=24, pace=0.4, accuracies=FAST))
    paths.append(write_run(tmp_path, "rr", 2, steps=4, pace=0.4, accuracies=FAST, state="failed"))
    paths.append(write_run(tmp_path, "rr", 3, steps=4, pace=0.4, accuracies=FAST, state="unfinished"))
    rr = rows_of(paths)["rr"]
    assert [rr[k] for k in ("n", "pairs", "reached", "failed", "unfinished", "missing")] == [3, 3, 1, 1, 1, 1]
    assert rr["verdict"] == "undecided (n = 3, 5 needed)"


def test_expected_runs_without_a_record_are_missing(tmp_path: Path) -> None:
    """Also where no arm of that seed, or nothing of that strategy, was ever started."""
    paths = [write_run(tmp_path, "grpo", 1, steps=24, accuracies=SLOW)]
    expected = [("spell-backward", label, seed) for label in ("grpo", "rr") for seed in (1, 2)]
    analysis = analyse((condense(log) for log in read(paths)), baseline="grpo", target=TARGET, expected=expected)
    assert {a.strategy: a.missing for a in analysis.arms} == {"grpo": [2], "rr": [1, 2]}
    summary = summary_rows(analysis)
    assert [r["runs"] for r in summary] == ["1 (1 missing)", "0 (2 missing)"]


def test_seconds_of_different_machines_are_refused_tokens_stay(tmp_path: Path) -> None:
    """One run on another machine: no speed-up in seconds, the verdict is on tokens (4×)."""
    paths = three_seeds(tmp_path)[:-1]
    elsewhere = {**ENVIRONMENT, "fingerprint": "another", "cpu": "Other CPU"}
    paths.append(write_run(tmp_path / "x", "rr", 3, steps=24, pace=0.4, accuracies=FAST, replayed=4, environment=elsewhere))
    rr = rows_of(paths)["rr"]
    assert (rr["seconds_comparable"], rr["compared_on"]) == (False, "generated_tokens")
    assert (rr["speedup_training_seconds"], rr["speedup"]) == (None, pytest.approx(4.0))


def test_threads_are_part_of_the_machine(tmp_path: Path) -> None:
    """The same hardware with another number of processes is another clock."""
    logs = read(three_seeds(tmp_path))
    logs[0].spec["execution"]["processes"] = 2
    assert not analyse(map(condense, logs), baseline="grpo", target=TARGET).combinations[0].seconds_comparable


def test_work_lost_in_a_crash_is_lost_seconds_and_not_in_the_curve(tmp_path: Path) -> None:
    """Taken back from step 24 to 16: 8 steps of .5 s are lost, and the curve is that of an undisturbed run."""
    whole = rows_of([write_run(tmp_path / "a", "grpo", 1, steps=24, accuracies=SLOW)])["grpo"]
    broken = rows_of([write_run(tmp_path / "b", "grpo", 1, steps=24, accuracies=SLOW, lost_from=16)])["grpo"]
    assert (whole.pop("lost_seconds"), broken.pop("lost_seconds")) == (0.0, pytest.approx(4.0))
    del whole["non_degenerate_share"], broken["non_degenerate_share"]  # drawn anew by the second attempt
    assert whole == broken


def test_two_runs_for_one_seed_are_named(tmp_path: Path) -> None:
    """The complete one counts; the other is not hidden."""
    paths = [
        write_run(tmp_path / "a", "grpo", 1, steps=24, accuracies=SLOW),
        write_run(tmp_path / "b", "grpo", 1, steps=8, accuracies=SLOW, state="unfinished"),
    ]
    combination = analyse(map(condense, read(paths)), baseline="grpo", target=TARGET).combinations[0]
    assert combination.baseline is not None
    assert [r.state for r in combination.baseline.runs] == ["complete"]
    assert "two runs" in combination.duplicates[0]


def test_break_even_rollout_share_by_hand(tmp_path: Path) -> None:
    """Half the rollout seconds (r = ½) and half as much again of the others (o = 1½): ½/(1½ − ½) = 50 %."""
    paths = [write_run(tmp_path, "grpo", 1, steps=48, pace=0.5), write_run(tmp_path, "rr", 1, steps=48, pace=0.5)]
    runs = [condense(log) for log in read(paths)]
    analysis = analyse(runs, baseline="grpo", target={"accuracy": 0.45})
    base, arm = analysis.combinations[0].arms
    step = runs[0].eval_steps[base.outcomes["training_seconds"][0].index or 0]
    assert step > 0
    for name, column in arm.runs[0].steps.items():
        if name.startswith("seconds_"):
            column *= 0.5 if name in ("seconds_rollout", "seconds_probe") else 1.5
    assert break_even_rollout_share(base, arm) == pytest.approx(0.5)
    for name, column in arm.runs[0].steps.items():
        column *= 3 if name.startswith("seconds_") else 1
    assert break_even_rollout_share(base, arm) is None  # dearer in both: no share helps


def test_nothing_to_report_and_unknown_baselines_are_user_errors(tmp_path: Path) -> None:
    """One sentence each, with a suggestion."""
    with pytest.raises(UserError, match="no run to report"):
        analyse([], baseline="grpo", target=TARGET)
    runs = [condense(log) for log in read([write_run(tmp_path, "grpo", 1)])]
    with pytest.raises(UserError, match="did you mean 'grpo'"):
        analyse(runs, baseline="grop", target=TARGET)


def test_curves_csv_has_one_row_per_evaluation_with_every_cost(tmp_path: Path) -> None:
    """7 evaluations of each of 6 runs; costs as the ledger has them."""
    analysis = analyse(map(condense, read(three_seeds(tmp_path))), baseline="grpo", target=TARGET)
    table = list(csv.DictReader(io.StringIO(curves_csv(analysis))))
    assert len(table) == 42
    row = next(r for r in table if (r["strategy"], r["seed"], r["step"]) == ("rr", "1", "8"))
    assert (row["accuracy"], row["training_seconds"], row["generated_tokens"]) == ("0.5", "3.2", "2560")
    assert (row["rollouts"], row["state"]) == ("256", "complete")


def test_csv_text_survives_commas_quotes_lines_and_formulas() -> None:
    """RFC 4180 quoting; a label that a spreadsheet would run is text; infinity and nothing are told apart."""
    text = to_csv([{"a": 'x,"y"\nz', "b": math.inf, "c": None, "d": "=1+1", "e": True, "f": float("nan")}])
    assert list(csv.reader(io.StringIO(text, newline="")))[1] == ['x,"y"\nz', "inf", "", "'=1+1", "true", ""]


def test_summary_is_plain_rows_with_the_verdict(tmp_path: Path) -> None:
    """What the command line prints after a run."""
    grpo, rr = summary_rows(analyse(map(condense, read(three_seeds(tmp_path))), baseline="grpo", target=TARGET))
    assert (grpo["strategy"], grpo["verdict"], grpo["time_to_target"]) == ("grpo", "baseline", "8.00 s")
    assert (rr["reached"], rr["speedup"], rr["interval"], rr["verdict"]) == ("3/3", "2.50×", "[2.25, 2.75]", "undecided (n = 3, 5 needed)")
    assert 0 < float(rr["non_degenerate_share"]) <= 1


def test_pass_rates_fall_into_their_classes() -> None:
    """0 and 1 are classes of their own: they are the degenerate groups."""
    import numpy as np

    assert pass_rate_class(np.array([0, 0.125, 0.25, 0.5, 0.51, 0.75, 0.875, 1.0])).tolist() == [0, 1, 1, 2, 3, 3, 4, 5]


def test_a_strategy_on_some_combinations_does_not_speak_for_all(tmp_path: Path) -> None:
    """rr has pairs on one combination of two: said so, with a median and n = 3; a strategy without any pair is not compared."""
    paths = [write_run(tmp_path, "grpo", s, steps=24, combination=c) for c in ("a", "b") for s in (1, 2, 3)]
    paths += [write_run(tmp_path, "rr", s, steps=24, combination="a") for s in (1, 2, 3)]
    expected = [("a", "dots", 1)]
    analysis = analyse([condense(log) for log in read(paths)], baseline="grpo", target=TARGET, expected=expected)
    sentences = {o.strategy: overall_sentence(o, analysis) for o in analysis.overall}
    assert sentences["rr"].startswith("rr against grpo on 1 of 2 combinations: undecided in training time; median speed-up 1.00×")
    assert sentences["rr"].endswith("n = 3 pairs.")
    assert sentences["dots"] == "dots: not compared, no combination has a pair of it and grpo."
