"""A study is a projection of the ledgers: crash anywhere, in any order, and the same trials follow."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import FailureKind, UserError
from harness.records.ledger_records import Attempt, Failure
from harness.records.run_folder import RunPaths, run_paths
from harness.spec import RunSpec
from harness.suite.suite import Suite, plan
from harness.suite.tuning_table import VALIDATION
from harness.tuning.freeze import freeze
from harness.tuning.study import half_way
from harness.tuning.tuner import Tuner, TuningState, all_studies
from tests.edits import edited
from tests.tuning.made_up import SUITE, made_up_suite, write_run, write_runs

TRIALS = 8


def tuner(suite: Suite, runs_dir: Path, trials: int = TRIALS) -> Tuner:
    return Tuner(suite, suite.arms, runs_dir, trials)


def run(suite: Suite, runs_dir: Path, trials: int = TRIALS) -> TuningState:
    return tuner(suite, runs_dir, trials).run(lambda runs, state: write_runs(runs, runs_dir))


def sequence(state: TuningState) -> dict[str, list[Any]]:
    """Everything about the trials."""
    return {study.name: progress.trials for study, progress in state.progress}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Suite, Path, TuningState]:
    """A suite tuned without a disturbance."""
    folder = tmp_path_factory.mktemp("whole")
    suite = made_up_suite(folder)
    return suite, folder / "runs", run(suite, folder / "runs")


def test_every_study_has_the_same_number_of_trials(whole: tuple[Suite, Path, TuningState]) -> None:
    """The same budget for every arm, the baseline included; the first trial is the suite's own settings."""
    suite, _, state = whole
    assert state.complete
    assert {name: len(trials) for name, trials in sequence(state).items()} == {
        f"{c}/{arm}": TRIALS for c in ("first", "second") for arm in ("grpo", "rr")
    }
    for study, progress in state.progress:
        own = study.arm.algorithm
        assert progress.trials[0].point["learning_rate"] == own.learning_rate
        assert progress.trials[0].runs == tuple(study.spec(study.arm, seed, 0).run_id for seed in suite.tuning.seeds)


def test_tuned_is_never_worse_than_own_on_tuning_data(whole: tuple[Suite, Path, TuningState]) -> None:
    """The winner is the lowest of trials among which the suite's own settings are; here the search finds clearly better ones."""
    for _, progress in whole[2].progress:
        assert progress.best is not None
        assert progress.best.value < 0.8 * progress.trials[0].value


def test_trials_see_neither_reporting_seeds_nor_test_questions(whole: tuple[Suite, Path, TuningState]) -> None:
    """Every run that was started is on a tuning seed and evaluates validation questions alone."""
    suite, runs_dir, _ = whole
    specs = [RunSpec.load(path) for path in runs_dir.rglob("spec.json")]
    assert len(specs) > 2 * 4 * 4
    assert {spec.seed for spec in specs} == set(suite.tuning.seeds)
    assert not set(suite.tuning.seeds) & set(suite.seeds)
    assert {spec.evaluation.sets for spec in specs} == {(VALIDATION,)}
    assert {path.name for path in runs_dir.iterdir()} == {"made-up.tuning"}  # the suite's own runs are not touched


def test_pruned_trials_stopped_half_way_and_not_before(whole: tuple[Suite, Path, TuningState]) -> None:
    """A pruned trial has run to the evaluation at half of its steps, on every seed; its runs were not carried further."""
    _, runs_dir, state = whole
    pruned = [(study, t) for study, p in state.progress for t in p.trials if t.state == "pruned"]
    assert pruned
    for study, trial in pruned:
        half = half_way(study.spec(study.arm, 11))
        assert trial.step == half == 10
        for run_id in trial.runs:
            assert RunSpec.load(runs_dir / "made-up.tuning" / run_id / "spec.json").algorithm.max_steps == half


def test_pruning_is_paid_for_by_nobody(whole: tuple[Suite, Path, TuningState]) -> None:
    """Every pruned trial, run to its end after all, is no better than the best trial before it."""
    _, runs_dir, state = whole
    suite = whole[0]
    for study, progress in state.progress:
        for trial in (t for t in progress.trials if t.state == "pruned"):
            copy = runs_dir.parent / f"to-the-end-{study.fingerprint}-{trial.number}"
            shutil.copytree(runs_dir, copy)
            from harness.tuning.objective import curve_until, mean_value, score
            from harness.tuning.space import at

            specs = [study.spec(at(study.arm, study.space, trial.point), seed, trial.number) for seed in suite.tuning.seeds]
            write_runs(specs, copy)
            reader = tuner(suite, copy)
            logs = [reader.ledgers.finished(spec) for spec in specs]
            yard = state.standards[study.arm.combination.name].yard
            true = mean_value([score(curve_until(log), yard) for log in logs if log is not None])
            assert true >= min(t.value for t in progress.trials[: trial.number] if t.state == "complete")
            shutil.rmtree(copy)


def test_looking_again_changes_nothing(whole: tuple[Suite, Path, TuningState]) -> None:
    """A new process finds the same studies in the ledgers and nothing left to run."""
    suite, runs_dir, state = whole
    again = tuner(suite, runs_dir)
    found = again.look()
    assert sequence(found) == sequence(state)
    assert again.needed(found) == []


class Crash(Exception):
    """Stands for kill -9."""


@pytest.mark.slow
@pytest.mark.parametrize("chance", range(4))
def test_a_crash_anywhere_leads_to_the_same_trials(whole: tuple[Suite, Path, TuningState], tmp_path: Path, chance: int) -> None:
    """Killed at random records, between runs, with torn ledgers, with runs done in another order or lost: the same studies and lock."""
    suite, _, state = whole
    rng = random.Random(chance)
    runs_dir = tmp_path / "runs"

    def disturb(paths: RunPaths) -> None:
        if rng.random() < 0.02:
            if rng.random() < 0.5 and paths.ledger.exists():
                with open(paths.ledger, "ab") as file:
                    file.write(b'{"type":"evaluation","step":4,"accur')
            raise Crash

    def execute(runs: Sequence[RunSpec], _: TuningState) -> bool:
        runs = list(runs)
        rng.shuffle(runs)
        for spec in runs[: rng.randint(1, len(runs))] if rng.random() < 0.3 else runs:
            write_run(spec, runs_dir, disturb)
        return rng.random() > 0.1

    crashes = 0
    while True:
        try:
            found = tuner(suite, runs_dir).run(execute)
        except Crash:
            crashes += 1
            if rng.random() < 0.3:
                lost = rng.choice(sorted((runs_dir / "made-up.tuning").iterdir()))
                shutil.rmtree(lost)
            continue
        if found.complete:
            break
    assert crashes >= 3
    assert sequence(found) == sequence(state)
    assert freeze(suite, found, runs_dir, None) == freeze(suite, state, whole[1], None)


def test_more_trials_go_on_where_fewer_ended(whole: tuple[Suite, Path, TuningState], tmp_path: Path) -> None:
    """Three trials first, eight later: the same eight."""
    suite, _, state = whole
    assert sequence(run(suite, tmp_path, 3)) == {name: trials[:3] for name, trials in sequence(state).items()}
    assert sequence(run(suite, tmp_path)) == sequence(state)


def test_a_study_does_not_depend_on_the_others(whole: tuple[Suite, Path, TuningState], tmp_path: Path) -> None:
    """One arm tuned alone has the trials that it has beside the others; the baseline runs that set the target come along."""
    suite, _, state = whole
    chosen = [arm for arm in suite.arms if (arm.combination.name, arm.strategy.label) == ("second", "rr")]
    alone = Tuner(suite, chosen, tmp_path, TRIALS).run(lambda runs, _: write_runs(runs, tmp_path))
    assert sequence(alone) == {"second/rr": sequence(state)["second/rr"]}
    labels = {RunSpec.load(path).strategy.label.partition(".")[0] for path in tmp_path.rglob("spec.json")}
    assert labels == {"rr", "grpo"}


def test_started_trials_outlive_another_sampler(whole: tuple[Suite, Path, TuningState], monkeypatch: pytest.MonkeyPatch) -> None:
    """A version of Optuna that proposes other points does not start recorded trials anew: their points are read from the runs."""
    suite, runs_dir, state = whole
    monkeypatch.setattr("harness.tuning.study.propose", lambda *_: pytest.fail("a recorded trial was proposed again"))
    assert sequence(tuner(suite, runs_dir).look()) == sequence(state)


def test_another_space_is_another_study(whole: tuple[Suite, Path, TuningState]) -> None:
    """Whatever trials depend on is in the fingerprint; what they do not depend on is not."""
    suite = whole[0]
    before = {s.name: s.fingerprint for s in all_studies(suite, "first")}

    def after(**changes: Any) -> dict[str, str]:
        return {s.name: s.fingerprint for s in all_studies(replace(suite, **changes), "first")}

    for changed in ({"seeds": (21, 22)}, {"cost": "generated_tokens"}, {"space": {}}):
        now = after(tuning=suite.tuning.model_copy(update=changed))
        assert all(now[name] != before[name] for name in before), changed
    slower = tuple(replace(arm, algorithm=arm.algorithm.model_copy(update={"max_steps": 30})) for arm in suite.arms)
    assert not set(after(arms=slower).values()) & set(before.values())
    assert after(tuning=suite.tuning.model_copy(update={"trials": 99}), seeds=(7,), description="other") == before


def test_a_wrecked_run_counts_as_a_miss(tmp_path: Path) -> None:
    """A trial whose training failed (a NaN loss) is judged, as one that never reached the target; it is not tried again."""
    suite = made_up_suite(tmp_path)
    broken: set[str] = set()

    def execute(runs: Sequence[RunSpec], _: TuningState) -> bool:
        for spec in runs:
            write_run(spec, tmp_path)
            if ".trial-1." in spec.strategy.label and spec.seed == 11:
                from harness.records.ledger import LedgerWriter

                broken.add(spec.run_id)
                ledger = LedgerWriter(run_paths(tmp_path, spec).ledger)
                ledger.write(Attempt(2, {}, 0))
                ledger.write(Failure(FailureKind.NAN, "the loss is NaN"))
                ledger.close()
        return True

    state = tuner(suite, tmp_path, 2).run(execute)
    assert state.complete
    for _, progress in state.progress:
        assert progress.trials[1].runs[0] in broken
        assert progress.trials[1].reached <= 1


def test_what_cannot_be_run_ends_the_command(tmp_path: Path) -> None:
    """Runs that an executor cannot finish are given to it once, not for ever; the state says what is missing."""
    suite = made_up_suite(tmp_path)
    given: list[str] = []

    def execute(runs: Sequence[RunSpec], _: TuningState) -> bool:
        given.extend(run.run_id for run in runs)
        return write_runs([run for run in runs if run.combination.name == "first"], tmp_path)

    state = tuner(suite, tmp_path, 3).run(execute)
    assert not state.complete
    assert {study.name: len(p.trials) for study, p in state.progress} == {"first/grpo": 3, "first/rr": 3, "second/grpo": 0, "second/rr": 0}
    assert max(given.count(run_id) for run_id in given) <= 2  # to half of its steps, and to their end


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("seeds = [11, 12]", "seeds = [11, 2]", "seed 2 is one of the suite's seeds and of tuning.seeds"),
        ("every_steps = 2", 'every_steps = 2\nsets = ["test", "validation"]', "evaluation.sets names 'validation'"),
        (
            'task = "tuned_task:Task"',
            'task = "tuned_task:Task"\nevaluation = { sets = ["validation"] }',
            "evaluation.sets names 'validation'",
        ),
        ('task = "tuned_task:Task"', 'task = "tuned_task:WithoutValidation"', "has no validation questions"),
        ('name = "rr"\n', 'name = "rr"\ncombinations = ["first"]\n', None),
        (
            '[[strategies]]\nname = "grpo"\n',
            '[[strategies]]\nname = "grpo"\ncombinations = ["first"]\n',
            "needs the baseline 'grpo' on combination 'second'",
        ),
    ],
)
def test_suites_that_cannot_be_tuned(tmp_path: Path, old: str, new: str, words: str | None) -> None:
    """Each refusal is one sentence, before anything starts."""
    suite = made_up_suite(tmp_path, edited(SUITE, {old: new}, "every"))
    if words is None:
        assert len(tuner(suite, tmp_path).studies) == 3
        return
    with pytest.raises(UserError, match=words):
        tuner(suite, tmp_path)
    assert not (tmp_path / "made-up.tuning").exists()


def test_trials_may_aim_beyond_what_is_compared(tmp_path: Path) -> None:
    """With a target of its own, tuning is that of a suite compared there: same targets, same trials, whatever [target] says."""
    compared_there = made_up_suite(tmp_path / "a", SUITE + "\n[target]\nshare_of_gain = 0.6\n")
    ask = edited(SUITE, {"seeds = [11, 12]": "seeds = [11, 12]\ntarget = { share_of_gain = 0.6 }"})
    beyond = made_up_suite(tmp_path / "b", ask + "\n[target]\nshare_of_gain = 0.3\n")
    there, here = run(compared_there, tmp_path / "a"), run(beyond, tmp_path / "b")
    assert sequence(here) == sequence(there)
    for standard in here.standards.values():
        start, final, accuracy = standard.target.start, standard.target.final, standard.yard.accuracy
        assert start is not None
        assert final is not None
        assert accuracy == pytest.approx(start + 0.6 * (final - start), abs=0.02)  # the median gain is not the gain of the medians
    locked = freeze(beyond, here, tmp_path / "b", None)
    assert locked.target == "60 % of the baseline's gain, crossing sustained"
    assert {run.target.share_of_gain for run in plan(beyond)} == {0.3}


def test_a_baseline_that_learns_nothing_sets_no_target(tmp_path: Path) -> None:
    """There is then no time to target to minimise, and the command says so."""
    suite = made_up_suite(tmp_path, edited(SUITE, {"learning_rate = 1e-3": "learning_rate = 1e-9"}, "every"))
    suite = replace(suite, target=suite.target.model_copy(update={"share_of_gain": None, "accuracy": 0.05}))
    with pytest.raises(UserError, match=r"first cannot be tuned: the target \(5.0 %\) is not above the baseline's first evaluation"):
        run(suite, tmp_path)
