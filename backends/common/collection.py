"""Pass rates of any model on a task's questions, for training difficulty predictors: rolled out, scored, recorded portion by portion."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backends.common.completion import decode_text
from backends.common.decoder import Decoder, left_pad
from backends.common.devices import choose_device
from backends.common.model_loading import LoadedModel, load_model, load_tokenizer
from backends.common.prompts import encode_prompts
from backends.common.scoring_engine import stream_seed
from backends.common.tiny_models import build_tiny_model, is_embedded, model_identity
from harness.backend import Progress
from harness.data.provenance import built_task, model_facts
from harness.errors import UserError
from harness.predictor.collection import CollectionRequest, Column, PassRateStore
from harness.reward.service import RewardService
from harness.spec import ModelSpec, RunSpec
from harness.task import TaskData
from harness.types import FloatArray, Question

#: Rollouts decoded at once where ``execution.micro_batch_rollouts`` does not say.
ROWS = 512
#: Completions of every prompt as token ids, by (prompts, seed).
Generate = Callable[[Sequence[list[int]], int], list[list[list[int]]]]


@dataclass(frozen=True, slots=True)
class Source:
    """A model to roll out. path: a folder. commit: of the hub, or a digest of folder or recipe."""

    path: str
    label: str
    commit: str


def collect(request: CollectionRequest, cache: Path, progress: Progress) -> None:
    """Bring one model's column into the table ``request.out``; goes on where an earlier attempt was cut off.

    Raises UserError for a model, split or engine that is not to be found.
    """
    spec = request.spec
    torch.set_num_threads(spec.execution.threads)
    task = built_task(spec.combination.task)
    questions = distinct(task.split(request.split))[: request.questions]
    if not questions:
        raise UserError(f"task {task.name!r} has no questions in split {request.split!r}")
    store = PassRateStore(Path(request.out), [question.prompt for question in questions])
    device = "cpu" if choose_device(spec.execution.device) else "cuda"
    source = find_model(request.model, task, cache, progress, device)
    column = _column(request, source, task)
    if store.holds(column):
        progress(source.label, len(questions), len(questions))
        return
    journal = store.journal(column)
    progress(source.label, journal.done, len(questions))
    missing = list(journal.missing(request.portion))
    if missing:
        tokenizer, generate = _engine(source.path, request, device)
        prompts = encode_prompts(tokenizer, task, questions)
        workers = max(1, spec.execution.threads)
        with RewardService(task.reward, workers=workers, seconds=spec.execution.reward_seconds) as scorer:
            for part in missing:
                started = time.perf_counter()
                tokens = generate([prompts[i] for i in part], stream_seed([spec.seed, part.start]))
                texts = [[decode_text(tokenizer, ids) for ids in group] for group in tokens]
                rates = mean_rewards(scorer, task, [questions[i] for i in part], texts)
                generated = sum(len(ids) for group in tokens for ids in group)
                journal.append(part.start, rates.tolist(), generated, time.perf_counter() - started)
                progress(source.label, journal.done, len(questions))
    store.add(column, journal)


def distinct(questions: Sequence[Question]) -> list[Question]:
    """The questions without those whose text was there before: a table has one row per text."""
    return list({question.prompt: question for question in reversed(questions)}.values())[::-1]


def mean_rewards(scorer: RewardService, task: TaskData, questions: Sequence[Question], texts: Sequence[Sequence[str]]) -> FloatArray:
    """Mean reward of every question's completions, all groups of one size, shape (n,)."""
    answers = [
        (text, question.answer, task.scoring_metadata(question)) for question, group in zip(questions, texts, strict=True) for text in group
    ]
    rewards: FloatArray = np.asarray(scorer.score(answers), dtype=np.float64)
    rates: FloatArray = rewards.reshape(len(questions), -1).mean(axis=1)
    return rates


def find_model(name: str, task: TaskData, cache: Path, progress: Progress, device: str) -> Source:
    """A folder with the model's files: built for ``embedded:NAME@SEED``, as it is for a folder, downloaded for ``HUB/NAME@COMMIT``."""
    if Path(name).is_dir():
        digest = str(model_facts(ModelSpec(name=name))["digest"])
        return Source(name, Path(name).resolve().name, digest)
    base, _, revision = name.partition("@")
    if is_embedded(base):
        if revision and not revision.isdigit():
            raise UserError(f"model {name!r}: what follows the @ of an embedded model is its seed, a number")
        folder = build_tiny_model(base, task, int(revision or 0), cache / "models", progress, device)
        label = base.partition(":")[2] + (f"-seed{revision}" if revision else "")
        return Source(str(folder), label, model_identity(str(folder), None).rpartition("-")[2])
    return _from_hub(base, revision or None)


def _from_hub(name: str, revision: str | None) -> Source:
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, revision=revision, ignore_patterns=["*.pth", "*.bin", "original/*"]))
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"model {name!r} is neither a folder nor available from the hub: {reason}") from error
    return Source(str(folder), name.rpartition("/")[2], folder.name)


def _column(request: CollectionRequest, source: Source, task: TaskData) -> Column:
    spec = request.spec
    return Column(
        label=source.label,
        model=request.model,
        commit=source.commit,
        rollouts=request.rollouts,
        temperature=spec.algorithm.temperature,
        top_p=spec.algorithm.top_p,
        max_completion_tokens=spec.algorithm.max_completion_tokens,
        seed=spec.seed,
        backend=spec.combination.backend,
        generation=spec.execution.generation,
        precision=spec.algorithm.precision,
        task=task.name,
        split=request.split,
        reward=task.reward.name,
    )


def _engine(path: str, request: CollectionRequest, device: str) -> tuple[Any, Generate]:
    """Tokenizer, and the engine that ``execution.generation`` names."""
    kind, spec = request.spec.execution.generation, request.spec
    if kind.startswith("vllm"):
        return load_tokenizer(path)[0], _with_vllm(path, request)
    if kind not in ("decoder", "generate"):
        raise UserError(f"pass rates cannot be collected with generation {kind!r}; give --generation decoder, generate or vllm")
    loaded = load_model(path, precision=spec.algorithm.precision, device=device)
    engine = _with_decoder if kind == "decoder" else _with_generate
    return loaded.tokenizer, engine(loaded, spec, request.rollouts)


def _rows(spec: RunSpec) -> int:
    return spec.execution.micro_batch_rollouts or ROWS


def _with_decoder(loaded: LoadedModel, spec: RunSpec, rollouts: int) -> Generate:
    algorithm = spec.algorithm
    decoder = Decoder(loaded.model, loaded.eos_ids, loaded.pad_id, max_rows=_rows(spec))

    def generate(prompts: Sequence[list[int]], seed: int) -> list[list[list[int]]]:
        groups = decoder.generate(
            prompts,
            rollouts,
            max_new_tokens=algorithm.max_completion_tokens,
            temperature=algorithm.temperature,
            top_p=algorithm.top_p,
            generator=torch.Generator().manual_seed(seed),
        )
        return [[completion.token_ids.tolist() for completion in group] for group in groups]

    return generate


def _with_generate(loaded: LoadedModel, spec: RunSpec, rollouts: int) -> Generate:
    """transformers' own generation, with none of the sampling settings that a model's folder may bring along."""
    from transformers import GenerationConfig

    algorithm = spec.algorithm
    config = GenerationConfig(
        do_sample=True, temperature=algorithm.temperature, top_p=algorithm.top_p, top_k=0, repetition_penalty=1.0,
        max_new_tokens=algorithm.max_completion_tokens, num_return_sequences=rollouts,
        eos_token_id=list(loaded.eos_ids), pad_token_id=loaded.pad_id,
    )  # fmt: skip
    at_once = max(1, _rows(spec) // rollouts)

    def generate(prompts: Sequence[list[int]], seed: int) -> list[list[list[int]]]:
        flat: list[list[int]] = []
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed)
            for start in range(0, len(prompts), at_once):
                ids, mask = left_pad(prompts[start : start + at_once], loaded.pad_id, loaded.model.device)
                found = loaded.model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
                flat += [_until_end(row, loaded.eos_ids) for row in found[:, ids.shape[1] :].tolist()]
        return [flat[i : i + rollouts] for i in range(0, len(flat), rollouts)]

    return generate


def _until_end(token_ids: list[int], ends: Sequence[int]) -> list[int]:
    """Tokens up to the first that ends a completion, that one included; padding follows it."""
    stop = next((i for i, token in enumerate(token_ids) if token in ends), len(token_ids) - 1)
    return token_ids[: stop + 1]


def _with_vllm(path: str, request: CollectionRequest) -> Generate:
    try:
        from vllm import LLM, SamplingParams
    except ImportError:
        raise UserError("--generation vllm needs the package vllm in the backend's environment; or give --generation generate") from None

    algorithm = request.spec.algorithm
    engine = LLM(model=path, dtype=algorithm.precision)

    def generate(prompts: Sequence[list[int]], seed: int) -> list[list[list[int]]]:
        sampling = [
            SamplingParams(
                n=request.rollouts, temperature=algorithm.temperature, top_p=algorithm.top_p, max_tokens=algorithm.max_completion_tokens,
                seed=(seed + i * request.rollouts) % 2**63,
            )
            for i in range(len(prompts))
        ]  # fmt: skip
        outputs = engine.generate([{"prompt_token_ids": prompt} for prompt in prompts], sampling, use_tqdm=False)
        return [[list(completion.token_ids) for completion in output.outputs] for output in outputs]

    return generate
