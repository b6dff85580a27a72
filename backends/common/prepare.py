"""What the runs of a combination share: starting model, pool embeddings, trained predictor. Built once, cached by content.

One-off costs are recorded when an artifact is built and reported as they were paid, also when it is found in the cache.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backends.common.cached_folder import cached_folder
from backends.common.collection import mean_rewards
from backends.common.completion import decode_text
from backends.common.decoder import Decoder
from backends.common.devices import choose_device
from backends.common.embeddings import embed_prompts
from backends.common.model_loading import load_model
from backends.common.prompts import encode_prompts
from backends.common.tiny_models import build_siblings, build_tiny_model, is_embedded, model_identity, model_metadata
from harness.backend import OneOff, Progress
from harness.data.provenance import built_task, model_folder
from harness.errors import UserError
from harness.predictor.artifact import load_artifact
from harness.predictor.lab.embedders import embed_cached, embedder_of
from harness.registry import entry_of
from harness.reward.service import RewardService
from harness.spec import RunSpec
from harness.task import WARM_UP, TaskData, no_warm_up
from harness.types import FloatArray, Question

#: Rollouts per adapter question and sibling model behind the predictor's training targets.
ADAPTER_ROLLOUTS = 8
#: The embedded models learn from answers only, so at prompt positions their last hidden states hold little: a linear probe
#: predicts pass rates with Pearson .37 from those, with .61 from the states that enter the first layer. Models from
#: elsewhere are embedded as in the paper, by their last hidden states.
EMBEDDED_LAYER = 0
#: Reference questions per training batch of the predictor; the runs roll out far fewer than the paper's 256.
TRAINING_REFERENCES = 64
#: Optimizer steps at least: a table of a few hundred questions makes too few in the paper's 20 epochs.
LEAST_STEPS = 400
_FACTS = "halfway.one-off.json"


@dataclass(slots=True)
class Prepared:
    """Artifacts of one combination. model: a folder or hub id that transformers loads. embeddings: (pool, width) or None."""

    task: TaskData
    model: str
    embeddings: FloatArray | None = None
    predictor: str | None = None
    one_off: list[OneOff] = field(default_factory=list)


def build_task(spec: RunSpec) -> TaskData:
    """The task of a run, from its registered builder."""
    return built_task(spec.combination.task)


def prepare(spec: RunSpec, cache: Path, progress: Progress) -> Prepared:
    """Everything a run needs before it starts. Raises UserError for what cannot be built or found."""
    torch.set_num_threads(spec.execution.threads)
    task = build_task(spec)
    name = spec.combination.model.name
    if not is_embedded(name):
        prepared = Prepared(task, str(model_folder(name, spec.combination.task.folder) or name))
    else:
        if not task.splits.get(WARM_UP):
            raise UserError(no_warm_up(name, task.name))
        folder = build_tiny_model(name, task, 0, cache / "models", progress, _device(spec))
        facts = model_metadata(folder)
        detail = {"model": name, "parameters": facts["parameters"], "warm_up_steps": facts["steps"]}
        prepared = Prepared(task, str(folder), one_off=[OneOff("model warm-up", facts["seconds"], detail)])
    requires = entry_of(spec.strategy).build(spec.strategy.config).requires
    artifact = spec.strategy.config.get("predictor")
    if "embed" in requires and artifact and not artifact_embedder(str(artifact)).startswith("policy:"):
        _embed_for_artifact(prepared, Path(str(artifact)), cache, progress)
    elif "embed" in requires:
        _add_embeddings(prepared, spec, cache, progress)
    if "predictor" in requires and not artifact:
        _add_predictor(prepared, spec, cache, progress)
    return prepared


def artifact_embedder(artifact: str) -> str:
    """Id of the embedder that a predictor artifact was trained with."""
    return str(load_artifact(artifact)[0]["embedder"])


def _embed_for_artifact(prepared: Prepared, artifact: Path, cache: Path, progress: Progress) -> None:
    """Embed the pool as the user's predictor expects it (``tfidf``, ``hf:MODEL``, ``smollm2``)."""
    texts = [question.prompt for question in prepared.task.split("train")]
    embedder, started = embedder_of(artifact), time.perf_counter()
    prepared.embeddings = embed_cached(
        embedder, texts, cache / "embeddings" / "texts", lambda done, total: progress("embedding the pool", done, total)
    )
    detail = {"questions": len(texts), "embedder": embedder.id}
    prepared.one_off.append(OneOff("pool embeddings", time.perf_counter() - started, detail))


def _add_embeddings(prepared: Prepared, spec: RunSpec, cache: Path, progress: Progress) -> None:
    pool = prepared.task.split("train")
    identity = {
        "model": model_identity(prepared.model, spec.combination.model.revision),
        "pool": prepared.task.split_hash("train"),
        "layer": _layer(spec),
    }

    def build(folder: Path) -> None:
        started = time.perf_counter()
        progress("embedding the pool", 0, len(pool))
        np.save(folder / "embeddings.npy", _embed(prepared, spec, pool))
        _save_facts(folder, "pool embeddings", started, {"questions": len(pool)})

    folder = cached_folder(cache / "embeddings", "policy", identity, build)
    prepared.embeddings = np.load(folder / "embeddings.npy", mmap_mode="r", allow_pickle=False)
    prepared.one_off.append(_load_facts(folder))


def _add_predictor(prepared: Prepared, spec: RunSpec, cache: Path, progress: Progress) -> None:
    """Train the adapter on rollouts of models disjoint from the policy, on questions disjoint from pool and evaluation."""
    name = spec.combination.model.name
    if not is_embedded(name):
        raise UserError(
            f"strategy {spec.strategy.name!r} needs a trained predictor for model {name!r}: make one with `halfway predictor train` "
            "and name its folder in the strategy's setting predictor"
        )
    algorithm, task = spec.algorithm, prepared.task
    questions = task.split("adapter")
    variant = str(spec.strategy.config.get("variant", "paper"))
    embedder = f"policy:{model_identity(prepared.model, None)}:layer{_layer(spec)}"
    identity = {
        "embedder": embedder,
        "questions": task.split_hash("adapter"),
        "rollouts": ADAPTER_ROLLOUTS,
        "sampling": [algorithm.temperature, algorithm.top_p, algorithm.max_completion_tokens],
        "variant": variant,
        "version": 2,
    }

    def build(folder: Path) -> None:
        from harness.predictor.lab.attention_training import train_predictor
        from harness.predictor.lab.training_settings import TrainingSettings

        started = time.perf_counter()
        siblings = build_siblings(name, task, 0, cache / "models", progress, _device(spec))
        columns = []
        with RewardService(task.reward, workers=1) as scorer:
            for i, sibling in enumerate(siblings):
                progress("rolling out sibling models", i, len(siblings))
                columns.append(_pass_rates(str(sibling), spec, task, questions, scorer))
        embeddings = _embed(prepared, spec, questions)
        train_predictor(
            embeddings,
            np.stack(columns, axis=1),
            embedder=embedder,
            out=folder / "predictor",
            seed=0,
            settings=TrainingSettings.of(variant, references=min(TRAINING_REFERENCES, len(questions) // 2), least_steps=LEAST_STEPS),
            progress=lambda done, total: progress("training the predictor", done, total),
        )
        detail = {"sibling_models": len(siblings), "rollouts": len(siblings) * len(questions) * ADAPTER_ROLLOUTS}
        _save_facts(folder, "predictor training", started, detail)

    folder = cached_folder(cache / "predictors", "attention", identity, build)
    prepared.predictor = str(folder / "predictor")
    prepared.one_off.append(_load_facts(folder))


def _device(spec: RunSpec) -> str:
    return "cpu" if choose_device(spec.execution.device) else "cuda"


def _layer(spec: RunSpec) -> int:
    return EMBEDDED_LAYER if is_embedded(spec.combination.model.name) else -1


def _embed(prepared: Prepared, spec: RunSpec, questions: Sequence[Question]) -> FloatArray:
    loaded = load_model(prepared.model, revision=spec.combination.model.revision, device=_device(spec))
    embedded: FloatArray = embed_prompts(loaded.model, encode_prompts(loaded.tokenizer, prepared.task, questions), layer=_layer(spec))
    return embedded


def _pass_rates(model_path: str, spec: RunSpec, task: TaskData, questions: Sequence[Question], scorer: RewardService) -> FloatArray:
    """Pass rate of every question under one model, shape (n,)."""
    loaded, algorithm = load_model(model_path, device=_device(spec)), spec.algorithm
    groups = Decoder(loaded.model, loaded.eos_ids, loaded.pad_id, max_rows=4096).generate(
        encode_prompts(loaded.tokenizer, task, questions),
        ADAPTER_ROLLOUTS,
        max_new_tokens=algorithm.max_completion_tokens,
        temperature=algorithm.temperature,
        top_p=algorithm.top_p,
        generator=torch.Generator().manual_seed(0),
    )
    texts = [[decode_text(loaded.tokenizer, completion.token_ids) for completion in group] for group in groups]
    return mean_rewards(scorer, task, questions, texts)


def _save_facts(folder: Path, name: str, started: float, detail: dict[str, Any]) -> None:
    facts = {"name": name, "seconds": time.perf_counter() - started, "detail": detail}
    (folder / _FACTS).write_text(json.dumps(facts), encoding="utf-8")


def _load_facts(folder: Path) -> OneOff:
    return OneOff(**json.loads((folder / _FACTS).read_text(encoding="utf-8")))
