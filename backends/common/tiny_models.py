"""Embedded language models: made here in seconds, deterministically, without any download.

A randomly initialised Llama- or Qwen2-style model learns a task from *corrupted* targets: it then knows the task but is
unsure, pass rates spread over [0, 1], and GRPO has something to climb. (Warm-ups cut short instead gave pass rates of
only 0 and 1; see :class:`harness.task.WarmUp` for the noise.) The warm-up questions are a split of their own.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import random
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backends.common.cached_folder import cached_folder
from backends.common.char_tokenizer import build_tokenizer, pieces
from harness.backend import Progress
from harness.errors import UserError
from harness.task import WARM_UP, TaskData, embedded_positions
from harness.types import Question

PREFIX = "embedded:"
METADATA = "halfway.model.json"
#: Raise it when a change alters the weights that the same name and seed give.
VERSION = 1
_NAME = re.compile(r"embedded:(llama|qwen2)-(\d+)x(\d+)")


@dataclass(frozen=True, slots=True)
class Architecture:
    """What a name such as ``embedded:llama-64x2`` means: family, width, layers."""

    family: str
    width: int
    layers: int

    @classmethod
    def parse(cls, name: str) -> Architecture:
        """Read a name. Raises UserError if it is not one of an embedded model."""
        match = _NAME.fullmatch(name)
        if match is None:
            raise UserError(f"unknown embedded model {name!r}; names are like embedded:llama-64x2 (width x layers) or embedded:qwen2-96x3")
        width, layers = int(match[2]), int(match[3])
        if width % 32 or not 32 <= width <= 1024 or not 1 <= layers <= 24:
            raise UserError(f"embedded model {name!r}: the width must be a multiple of 32 from 32 to 1024, and layers from 1 to 24")
        return cls(match[1], width, layers)

    @property
    def is_tiny(self) -> bool:
        """Built on one CPU thread, the same bytes again; wider ones are built where they will train."""
        return self.width <= 256

    @property
    def learning_rate_scale(self) -> float:
        """Wide models take smaller steps: times 128/width above 128."""
        return min(1.0, 128 / self.width)

    @property
    def heads(self) -> int:
        """Attention heads: 16 wide in small models, 64 (or 32) wide in larger ones."""
        return max(2, self.width // 16) if self.width <= 128 else self.width // 64 if self.width % 64 == 0 else self.width // 32

    def config(self, tokenizer: Any, max_positions: int) -> Any:
        """A transformers configuration; Qwen2-style models have grouped queries and tied embeddings as their originals."""
        from transformers import LlamaConfig, Qwen2Config

        qwen = self.family == "qwen2"
        return (Qwen2Config if qwen else LlamaConfig)(
            vocab_size=len(tokenizer),
            hidden_size=self.width,
            intermediate_size=self.width * 5 // 2,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.heads // 2 if qwen else self.heads,
            max_position_embeddings=max_positions,
            tie_word_embeddings=qwen,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a warm-up: up to step ``until``, with the task's corruption times ``noise``."""

    until: int
    noise: float = 1.0


#: (share of the warm-up's steps at which a sibling is saved, scale of the noise up to there)
_SIBLINGS = ((0.7, 1.0), (0.9, 1.0), (1.0, 0.5), (1.1, 0.1))


def is_embedded(name: str) -> bool:
    """Whether a model name asks for a model that is built here."""
    return name.startswith(PREFIX)


def build_tiny_model(name: str, task: TaskData, seed: int, cache_dir: Path, progress: Progress | None = None, device: str = "cpu") -> Path:
    """Folder of an ordinary Hugging Face model (safetensors, tokenizer) that knows ``task`` but is unsure.

    Built once per name, seed and warm-up questions, then found in ``cache_dir``; ``halfway.model.json`` in it records
    ``seconds`` (the one-off cost), parameters and what determined the weights. device: where a model wider than 256 is
    trained; smaller ones are always trained on one CPU thread. Raises UserError for an unknown name or a task without
    warm-up questions.
    """
    return build_checkpoints(name, task, seed, (Stage(task.warm_up.steps),), cache_dir, progress, device)[0]


def build_siblings(
    name: str, task: TaskData, seed: int, cache_dir: Path, progress: Progress | None = None, device: str = "cpu"
) -> list[Path]:
    """Four models disjoint from the policies, for training the difficulty predictor.

    One warm-up with another seed, saved on the way; towards its end the targets are corrupted less, so that the pass rates of
    the four cover the range through which a policy moves while it is trained.
    """
    stages = tuple(Stage(max(i + 1, round(task.warm_up.steps * share)), noise) for i, (share, noise) in enumerate(_SIBLINGS))
    return build_checkpoints(name, task, seed + 1_000_003, stages, cache_dir, progress, device)


def build_checkpoints(
    name: str,
    task: TaskData,
    seed: int,
    stages: Sequence[Stage],
    cache_dir: Path,
    progress: Progress | None = None,
    device: str = "cpu",
) -> list[Path]:
    """One warm-up through all stages, the model saved at the end of each; one folder per stage, in order."""
    architecture = Architecture.parse(name)
    questions = task.splits.get(WARM_UP, ())
    if not questions:
        raise UserError(f"task {task.name!r} has no warm-up questions, so {name!r} cannot be built; set its warm_up size above 0")
    identity = {
        "version": VERSION,
        "name": name,
        "seed": seed,
        "stages": [asdict(stage) for stage in stages],
        "warm_up": task.warm_up.identity,
        "questions": task.split_hash(WARM_UP),
        "alphabet": task.alphabet,
        "torch": torch.__version__.partition("+")[0],
        "transformers": importlib.metadata.version("transformers"),
        **({"tokens": task.tokens} if task.tokens else {}),
        **({} if architecture.is_tiny else {"device": device}),
    }

    def build(folder: Path) -> None:
        threads = torch.get_num_threads()
        if architecture.is_tiny:
            torch.set_num_threads(1)  # sums in another order would give other last digits
        try:
            where = "cpu" if architecture.is_tiny else device
            _warm_up(architecture, task, seed, stages, folder, identity, progress or _silent, where)
        finally:
            torch.set_num_threads(threads)

    root = cached_folder(cache_dir, name.removeprefix(PREFIX), identity, build)
    return [root / f"step-{stage.until}" for stage in stages]


def model_metadata(folder: Path) -> dict[str, Any]:
    """What ``halfway.model.json`` says: seconds, parameters, steps, final loss, identity."""
    loaded: dict[str, Any] = json.loads((folder / METADATA).read_text(encoding="utf-8"))
    return loaded


def model_identity(model: str, revision: str | None) -> str:
    """What determines a model's weights: the recipe's hash for one built here, name and revision for one loaded."""
    if not (Path(model) / METADATA).exists():
        return f"{model}@{revision or 'main'}"
    recipe = json.dumps(model_metadata(Path(model))["identity"], sort_keys=True)
    return f"{Path(model).name}-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"


def _silent(what: str, done: int, total: int) -> None:
    """No progress shown."""


def _warm_up(
    architecture: Architecture,
    task: TaskData,
    seed: int,
    stages: Sequence[Stage],
    folder: Path,
    identity: dict[str, Any],
    progress: Progress,
    device: str,
) -> None:
    from transformers import AutoModelForCausalLM

    started = time.perf_counter()
    settings, total = task.warm_up, stages[-1].until
    tokenizer = build_tokenizer(architecture.family, task.alphabet, task.tokens)
    batches = _Batches(task, tokenizer, random.Random(f"warm-up/{seed}"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(architecture.config(tokenizer, embedded_positions(task)))
    model.to(device)
    model.generation_config.update(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=True)
    peak = settings.learning_rate * architecture.learning_rate_scale
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, weight_decay=0.0, betas=(0.9, 0.98))
    label = f"building {architecture.family}-{architecture.width}x{architecture.layers}"
    loss = torch.tensor(float("nan"))
    noise_at = {step: stage.noise for stage in reversed(stages) for step in range(1, stage.until + 1)}
    for step, noise in sorted(noise_at.items()):
        for group in optimizer.param_groups:
            group["lr"] = peak * min(1.0, step / 50) * (1.0 - 0.9 * min(1.0, step / settings.steps))
        token_ids, targets = batches.next(settings.batch_size, noise)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss = _loss(model, token_ids.to(device), targets.to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 20 == 0 or step == total:
            progress(label, step, total)
        if any(step == stage.until for stage in stages):
            details = {"steps": step, "loss": loss.item(), "parameters": sum(p.numel() for p in model.parameters())}
            _save(model, tokenizer, folder / f"step-{step}", {"seconds": time.perf_counter() - started, **details, "identity": identity})


def _save(model: Any, tokenizer: Any, folder: Path, metadata: dict[str, Any]) -> None:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / METADATA).write_text(json.dumps(metadata, indent=1), encoding="utf-8")


def _loss(model: Any, token_ids: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of the targets (−100 where there is none), shapes (n, T)."""
    logits = model(input_ids=token_ids).logits[:, :-1]  # padding is on the right, where a causal mask hides it
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets[:, 1:].flatten(), ignore_index=-100)


class _Batches:
    """Endless batches of corrupted question-answer pairs; lengths are grouped so that little is spent on padding."""

    def __init__(self, task: TaskData, tokenizer: Any, rng: random.Random) -> None:
        self._questions, self._settings, self._rng, self._tokens = task.splits[WARM_UP], task.warm_up, rng, task.tokens
        self._letters = sorted({c for q in self._questions for c in self._pieces(q.answer)} - {*task.tokens})
        self._ids = {c: tokenizer.convert_tokens_to_ids(tokenizer.tokenize(c))[0] for c in (*task.alphabet, *task.tokens)}
        self._eos, self._pad = tokenizer.eos_token_id, tokenizer.pad_token_id
        self._queue: list[Question] = []

    def next(self, size: int, noise: float) -> tuple[Tensor, Tensor]:
        """Token ids and targets, each of shape (size, longest); ``noise`` scales the task's corruption."""
        while len(self._queue) < size:
            self._queue += self._rng.sample(self._questions, len(self._questions))
        chosen, self._queue = self._queue[:size], self._queue[size:]
        rows = [([self._ids[c] for c in self._pieces(q.prompt)], self._target(q, noise)) for q in chosen]
        width = max(len(prompt) + len(answer) for prompt, answer in rows)
        ids = torch.full((size, width), self._pad)
        targets = torch.full((size, width), -100)
        for i, (prompt, answer) in enumerate(rows):
            ids[i, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
            targets[i, len(prompt) : len(prompt) + len(answer)] = torch.tensor(answer)
        return ids, targets

    def _target(self, question: Question, scale: float) -> list[int]:
        return [*(self._ids[c] for c in self._corrupt(question, scale)), self._eos]

    def _corrupt(self, question: Question, scale: float) -> list[str]:
        """The answer's pieces, characters drawn anew at the rate of the task or of the question's level; tags are left alone."""
        found, rng = self._pieces(question.answer), self._rng
        noise = scale * self._settings.noise(len(found), question.metadata.get("level"))
        return [rng.choice(self._letters) if rng.random() < noise and c not in self._tokens else c for c in found]

    def _pieces(self, text: str) -> list[str]:
        return pieces(text, self._tokens)
