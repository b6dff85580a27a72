"""``halfway tune``: search settings for every strategy of a suite, freeze what is found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.hints import Given
from harness.cli.only import ARM_KEYS, choose
from harness.cli.options import AsJson, DataDir, Executor, MaxParallel, OnBackend, Plugins, RetryFailed, RunsDir, SuiteName, print_json
from harness.cli.tables import print_table
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.display.base import Display
    from harness.runner.suite_runner import SuiteResult
    from harness.spec import RunSpec
    from harness.suite.suite import Suite
    from harness.tuning.lock_file import LockedStudy, TuningLock
    from harness.tuning.tuner import Tuner, TuningState


def tune(
    suite: SuiteName,
    runs_dir: RunsDir = Path("runs"),
    trials: Annotated[int | None, typer.Option(min=1, help="Trials per combination and strategy; default: the suite's.")] = None,
    max_parallel: MaxParallel = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Only this combination, strategy or backend; repeatable.")
    ] = None,
    plugin: Plugins = None,
    retry_failed: RetryFailed = False,
    backend: OnBackend = None,
    data_dir: DataDir = None,
    executor: Executor = "local",
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Start nothing: write the trials so far as an SQLite file for optuna-dashboard.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Search settings for every strategy, baseline included, with equal budgets; 'halfway run' then uses them.

    Trials are ordinary runs on tuning seeds and validation questions. Start the same command again to go on.
    """
    from harness.data.provenance import use_data_folder
    from harness.suite.reader import load_suite, with_backend
    from harness.suite.suite import find_suite
    from harness.tuning.tuner import Tuner

    use_data_folder(data_dir)
    loaded = load_suite(find_suite(suite), plugin or ())
    loaded = with_backend(loaded, backend) if backend else loaded
    tuner = Tuner(loaded, choose(loaded.arms, only or [], ARM_KEYS, "arm of this suite"), runs_dir, trials or loaded.tuning.trials)
    if export is not None:
        _export(tuner, export)
        return
    from harness.records.file_locks import sole_use
    from harness.runner.executors.warm import WarmWorkers
    from harness.runner.readiness import refuse_unready
    from harness.runner.suite_runner import run_suite
    from harness.tuning.lock_file import TuningLock, lock_path

    folder = runs_dir / tuner.ledgers.folder
    with sole_use(folder, ".tune.lock", "tuned"), closing(WarmWorkers()) as warm:
        path = lock_path(loaded.name, runs_dir)
        before = TuningLock.read(path) if path.is_file() else None  # first, so that an unreadable one is found before the work
        if executor == "local":
            refuse_unready(tuner.needed(tuner.look()))
        state, stopped, failures = _work(
            tuner,
            lambda runs, display: run_suite(
                runs, runs_dir, display, max_parallel=max_parallel, retry_failed=retry_failed, executor=executor, warm=warm
            ),
        )
        lock = _freeze(loaded, state, runs_dir, before)
    if lock is not None:
        _show(lock, state, as_json)
    if not state.complete:
        given = Given(suite, runs_dir, only or (), plugin or (), backend, data_dir=data_dir, executor=executor, max_parallel=max_parallel)
        more = [*(["--trials", str(trials)] if trials is not None else []), *(["--retry-failed"] if retry_failed else [])]
        again = given.command("tune", *more)
        for words in failures:
            typer.echo(words, err=True)
        typer.echo(
            f"{state.judged} of {state.trials * len(state.progress)} trials judged; '{again}' goes on",
            err=True,
        )
        raise typer.Exit(130 if stopped else 1)


def _work(tuner: Tuner, run: Callable[[Sequence[RunSpec], Display], SuiteResult]) -> tuple[TuningState, bool, list[str]]:
    """Run until every study has its trials; (how they stand, whether it was stopped, failures of earlier commands)."""
    from harness.display.choose import make_display
    from harness.display.lines import LineDisplay
    from harness.tuning.rounds import Rounds

    rounds, display, stopped = Rounds(), make_display(), False
    failures: list[str] = []

    def execute(runs: Sequence[RunSpec], state: TuningState) -> bool:
        nonlocal stopped, display
        if not isinstance(display, LineDisplay):  # bars belong to one round
            display.close()
            display = make_display()
        for line in rounds.lines(state):
            display.note(line)
        result = run(runs, display)
        failures.extend(
            f"{o.spec.title} failed: {o.status.failure}"
            for o in result.outcomes
            if o.status.state == "failed" and not o.status.is_result and not o.shown
        )
        stopped = result.stopped
        return not stopped

    try:
        state = tuner.run(execute)
        for line in rounds.lines(state):
            display.note(line)
    finally:
        display.close()
    return state, stopped, failures


def _freeze(suite: Suite, state: TuningState, runs_dir: Path, before: TuningLock | None) -> TuningLock | None:
    """Write the lock of the studies that are complete; None where there is none."""
    from harness.tuning.freeze import finished, freeze
    from harness.tuning.lock_file import lock_path

    if not finished(state):
        return None
    path = lock_path(suite.name, runs_dir)
    lock = freeze(suite, state, runs_dir, before)
    lock.write(path)
    typer.echo(f"settings frozen in {path}", err=True)
    return lock


def _export(tuner: Tuner, path: Path) -> None:
    from harness.tuning.sampler import export

    state = tuner.look()
    if not state.judged:
        raise UserError("no trial is judged yet, so there is nothing to export; start 'halfway tune' without --export first")
    attributes = {"cost": tuner.suite.tuning.cost, "seeds": list(tuner.suite.tuning.seeds), "unit": "baseline budgets to the target"}
    export(((study.name, study.space, progress.trials, attributes) for study, progress in state.progress), path)
    typer.echo(f"{state.judged} trials of {len(state.progress)} studies in {path}; look at them with: optuna-dashboard sqlite:///{path}")


def _show(lock: TuningLock, state: TuningState, as_json: bool) -> None:
    """The studies of this command: the suite's own settings against the best found."""
    names = {(study.arm.combination.name, study.arm.strategy.label) for study, _ in state.progress}
    studies = [study for study in lock.studies if (study.combination, study.strategy) in names]
    if as_json:
        print_json([_row(study) for study in studies])
        return
    rows = []
    for study in studies:
        row = _row(study)
        settings = ", ".join(f"{name} = {json.dumps(value)}" for part in row["settings"].values() for name, value in part.items())
        rows.append([
            row["combination"], row["strategy"], f"{row['trials']} ({row['pruned']})", f"{row['own']:.3f}", f"{row['tuned']:.3f}",
            f"{row['reached']} of {len(lock.seeds)}", settings or "none to tune",
        ])  # fmt: skip
    print_table(["combination", "strategy", "trials (pruned)", "own", "tuned", "reached", "settings"], rows)
    seeds = ", ".join(map(str, lock.seeds))
    typer.echo(
        f"own, tuned: {lock.cost} to the target in budgets of the baseline, on {lock.evaluation} questions, mean of seeds {seeds}\n"
        f"{_repeated(studies)}The best of several trials is flattered by chance: quote the report, whose seeds and questions are others."
    )


def _repeated(studies: Sequence[LockedStudy]) -> str:
    """What every search of several found; empty where there was one."""
    lines = [
        f"{s.combination}/{s.strategy}: {', '.join(f'{r.value:.3f}' for r in s.repeats)} in {len(s.repeats)} searches; "
        f"used is the median, search {s.median + 1}\n"
        for s in studies
        if s.repeats
    ]
    return "".join(lines)


def _row(study: LockedStudy) -> dict[str, Any]:
    return {
        "combination": study.combination, "strategy": study.strategy, "trials": len(study.trials),
        "pruned": sum(t.state == "pruned" for t in study.trials), "own": study.own.value, "tuned": study.winner.value,
        "best": study.best, "reached": study.winner.reached, "settings": study.settings,
        "repeats": [repeat.model_dump(mode="json") for repeat in study.repeats], "median": study.median,
    }  # fmt: skip
