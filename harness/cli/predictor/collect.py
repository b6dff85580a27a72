"""``halfway predictor collect``: the pass rates that a predictor is trained on."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.bars import progress_bar
from harness.cli.options import DataDir
from harness.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from harness.predictor.collection import CollectionRequest
    from harness.predictor.progress import Progress
    from harness.spec import RunSpec, TaskSpec

POLL_SECONDS = 0.1


def collect(
    models: Annotated[
        str, typer.Option(metavar="A,B,C", help="Hub names (NAME@COMMIT pins one), folders, or embedded:NAME@SEED; commas between them.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Parquet file to write; models that it already holds are not rolled out again.")],
    suite: Annotated[str | None, typer.Option(help="Take task, sampling and engine from a suite (name or path) …")] = None,
    combination: Annotated[str | None, typer.Option(help="… and this combination of it (default: its first).")] = None,
    task: Annotated[str | None, typer.Option(help="Or a task by name, with --set and --max-completion-tokens.")] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the task, its value as JSON; repeatable.")
    ] = None,
    split: Annotated[str, typer.Option(help="The task's questions: train is the pool; tasks made here also have adapter.")] = "train",
    questions: Annotated[int | None, typer.Option(min=1, help="Only the first so many questions.")] = None,
    rollouts: Annotated[int, typer.Option(min=1, help="Rollouts per question and model.")] = 8,
    temperature: Annotated[float | None, typer.Option(help="Sampling temperature (default: the combination's; with --task 1).")] = None,
    top_p: Annotated[float | None, typer.Option(help="Nucleus (default: the combination's; with --task 1).")] = None,
    max_completion_tokens: Annotated[int | None, typer.Option(min=1, help="Longest completion (default: the combination's).")] = None,
    backend: Annotated[str | None, typer.Option(help="trl or verl (default: the combination's; with --task trl).")] = None,
    generation: Annotated[str | None, typer.Option(help="decoder, generate or vllm (default: the suite's; with --task decoder).")] = None,
    precision: Annotated[str | None, typer.Option(help="Of the weights: float32, bfloat16, float16 (default: the combination's).")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    micro_batch: Annotated[int | None, typer.Option(min=1, help="Rollouts decoded at once (default 512; vLLM decides itself).")] = None,
    portion: Annotated[int, typer.Option(min=1, help="Questions between two records on disk.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sampling.")] = 0,
    data_dir: DataDir = None,
) -> None:
    """Roll out models on a pool and write their pass rates, one column per model: what 'predictor train' needs.

    Interrupted at any moment, the same command goes on where it was.
    """
    from harness.data.provenance import use_data_folder
    from harness.predictor.collection import CollectionRequest

    use_data_folder(data_dir)
    names = [name.strip() for name in models.split(",") if name.strip()]
    if not names or len(set(names)) < len(names):
        raise UserError(f"--models {models}: name different models with commas between them")
    chosen: dict[str, dict[str, Any]] = {
        "algorithm": {
            "temperature": temperature, "top_p": top_p, "max_completion_tokens": max_completion_tokens, "precision": precision,
        },
        "execution": {"generation": generation, "device": device, "threads": threads, "micro_batch_rollouts": micro_batch},
        "combination": {"backend": backend},
    }  # fmt: skip
    spec = _changed(_spec(suite, combination, task, setting or [], max_completion_tokens), seed, chosen)
    target = out.absolute()
    with progress_bar() as progress:
        for number, name in enumerate(names, 1):
            label = f"model {number} of {len(names)}, {name}"
            request = CollectionRequest(
                spec=spec, model=name, split=split, questions=questions, rollouts=rollouts, portion=portion, out=str(target)
            )
            collect_model(request, target, _labelled(progress, label))
    _finish(target)


def _labelled(progress: Progress, label: str) -> Progress:
    return lambda what, done, total: progress(f"{label}: {what}", done, total)


def _spec(suite: str | None, combination: str | None, task: str | None, settings: list[str], max_tokens: int | None) -> RunSpec:
    """Any run with the task and the settings that are asked for; its model and strategy play no part."""
    if (suite is None) == (task is None):
        raise UserError("say what to roll out: --suite NAME [--combination NAME], or --task NAME")
    if suite is not None:
        return _of_suite(suite, combination)
    if max_tokens is None:
        raise UserError("--task needs --max-completion-tokens; or take all settings from a suite: --suite NAME --combination NAME")
    from harness.spec import CombinationSpec, ModelSpec, RunSpec, StrategySpec

    made = CombinationSpec(name="collect", backend="trl", model=ModelSpec(name="collect"), task=_task(str(task), settings))
    return RunSpec(suite="collect", combination=made, strategy=StrategySpec(label="grpo", name="grpo", version=""), seed=0)


def _of_suite(suite: str, combination: str | None) -> RunSpec:
    from harness.suite.reader import load_suite
    from harness.suite.suite import find_suite, plan

    runs = plan(load_suite(find_suite(suite)))
    names = list(dict.fromkeys(run.combination.name for run in runs))
    if combination is not None and combination not in names:
        raise UserError(f"--combination {combination}: the suite has {', '.join(names)}{did_you_mean(combination, names)}")
    return next(run for run in runs if run.combination.name == (combination or names[0]))


def _task(name: str, settings: list[str]) -> TaskSpec:
    from pydantic import BaseModel

    from harness.registry import TASKS, make_task_builder
    from harness.spec import TaskSpec

    if ":" not in name and name not in TASKS:
        raise UserError(f"unknown task {name!r}{did_you_mean(name, TASKS)} (known: {', '.join(sorted(TASKS))})")
    config: dict[str, Any] = {}
    for item in settings:
        key, equals, value = item.partition("=")
        if not equals:
            raise UserError(f"--set {item}: write KEY=VALUE")
        try:
            config[key] = json.loads(value)
        except ValueError:
            config[key] = value
    builder = make_task_builder(name, config, str(Path.cwd()))
    resolved = getattr(builder, "config", None)
    full = resolved.model_dump(mode="json") if isinstance(resolved, BaseModel) else config
    return TaskSpec(name=name, config=full, version=str(getattr(builder, "version", "")), folder=str(Path.cwd()))


def _changed(spec: RunSpec, seed: int, chosen: dict[str, dict[str, Any]]) -> RunSpec:
    """The spec with the options that were given in place of its own settings."""
    from pydantic import ValidationError

    from harness.spec import RunSpec
    from harness.validation import explain

    data = {**spec.model_dump(mode="json"), "seed": seed}
    for section, values in chosen.items():
        data[section] = {**data[section], **{key: value for key, value in values.items() if value is not None}}
    data["execution"] |= {"processes": 1, "nodes": 1}  # one model on one device
    if data["execution"]["generation"].startswith("vllm"):
        data["execution"]["generation"] = "vllm"
    try:
        return RunSpec.model_validate(data)
    except ValidationError as error:
        location, words = explain(error.errors()[0], RunSpec)
        raise UserError(f"--{str(location[-1]).replace('_', '-')}: {words}") from None


def collect_model(request: CollectionRequest, out: Path, progress: Progress) -> None:
    """One model in a process of its own, so that its memory is free for the next, in the backend's interpreter."""
    from harness.machine.interpreters import interpreter
    from harness.predictor.collection import journal_folder
    from harness.records.tail import Tail
    from harness.runner.executors.local import slots
    from harness.runner.executors.process import WorkerProcess
    from harness.worker.protocol import read_progress

    folder = journal_folder(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        request_file, progress_file = folder / "request.json", folder / "progress"
        request_file.write_text(request.model_dump_json(indent=2), encoding="utf-8")
        progress_file.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {error.filename or folder}: {error.strerror}") from None
    tail = Tail(progress_file)
    worker = WorkerProcess(interpreter(request.spec), ["--collect", str(request_file)], slots([request.spec], 1)[0], progress_file)
    try:
        while (code := worker.poll()) is None:
            for line in tail.new_lines():
                if found := read_progress(line):
                    progress(*found)
            time.sleep(POLL_SECONDS)
        words = worker.error_message() or f"its process ended with code {code} (log: {request_file.with_suffix('.log')})"
    except KeyboardInterrupt:
        worker.terminate()
        typer.echo("stopped; the same command goes on where it was", err=True)
        raise
    finally:
        worker.close()
    if code:
        killed = f"its process was killed by {signal.Signals(-code).name}; the same command goes on where it was" if code < 0 else words
        raise UserError(f"{request.model}: {killed}")


def _finish(out: Path) -> None:
    """Say what the table holds, and how to go on."""
    from harness.predictor.collection import drop_journals, read_metadata

    table, facts = read_metadata(out)
    drop_journals(out)
    for name, found in facts.items():
        mean = float(table[name].to_numpy().mean())
        typer.echo(f"{name}: mean {mean:.3f}, {found['tokens']:.0f} tokens, {found['seconds']:.0f} s")
    typer.echo(f"{table.num_rows} questions x {len(facts)} models: {out}")
    typer.echo(f"next: halfway predictor train {out} -o PREDICTOR --embedder hf:MODEL")
