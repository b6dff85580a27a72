"""The resolved run spec: every setting of one run, and which of them are its identity.

``run_id`` is a hash of the *identity* fields alone. What is an *execution* field (labels, worker counts, time limits,
targets, budgets) may change between two commands without making it another run; that is why raising ``max_steps`` or a
budget extends a run instead of starting it again. Every field is listed in exactly one of :data:`IDENTITY`,
:data:`LATER_IDENTITY` and :data:`EXECUTION`; a test fails until a new one is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from harness.errors import UserError
from harness.files import write_text
from harness.types import Costs
from harness.validation import explain

IDENTITY_VERSION = 2
"""Part of the hash. Raising it makes every run a new run: say so in the changelog.

1: a strategy's version named the modules of its classes. 2: it is the registered name and the declared versions.
"""

SLUG = r"^[A-Za-z0-9][A-Za-z0-9._+-]*$"


class SpecError(UserError):
    """A run spec that cannot be used; the message names the file or the setting."""


class Settings(BaseModel):
    """Frozen, unknown keys refused, no silent conversions ("8" is not 8), no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class LoraSpec(Settings):
    """Low-rank adapters that are trained in place of the weights (Hu et al., arXiv 2106.09685)."""

    rank: int = Field(ge=1, description="rank of the update of a weight matrix")
    alpha: float = Field(default=16.0, gt=0, description="scale of the update: it is multiplied by alpha / rank")
    modules: tuple[str, ...] = Field(
        default=(), strict=False, description="names of the linear layers that get one; empty: all but the head"
    )


class ModelSpec(Settings):
    """The starting policy."""

    name: str = Field(min_length=1, description="hub id, folder, or embedded:NAME for a tiny model built here")
    revision: str | None = Field(default=None, description="pinned hub revision")
    lora: LoraSpec | None = Field(default=None, description="train adapters (rank, alpha, modules) instead of the weights")


class TaskSpec(Settings):
    """The task builder and its settings: training pool and evaluation sets follow from them."""

    name: str = Field(min_length=1, description="registered task name, or module:attr")
    config: dict[str, JsonValue] = Field(default_factory=dict, description="settings of the task builder")
    version: str = Field(default="", description="versions of the builder, and of the package or the files its questions come from")
    folder: str = Field(default="", description="folder of the suite file: relative paths begin and modules are looked for there")


class CombinationSpec(Settings):
    """What is trained on what, by which engine."""

    name: str = Field(pattern=SLUG, description="label of the model-task pair in tables")
    backend: str = Field(min_length=1, description="registered backend name, or module:attr")
    model: ModelSpec
    task: TaskSpec


class StrategySpec(Settings):
    """The arm: a strategy with all its settings filled in."""

    label: str = Field(pattern=SLUG, description="name of the arm in tables")
    name: str = Field(min_length=1, description="registered strategy name")
    version: str = Field(description="registered name and declared versions of selector and replay")
    config: dict[str, JsonValue] = Field(default_factory=dict, description="resolved settings")
    uncharged_oracle: bool = Field(default=False, description="an upper bound whose labels cost nothing")
    plugin: str | None = Field(default=None, description="module:attr the strategy was loaded from")
    predictor_digest: str = Field(default="", description="content hash of the predictor that the setting predictor names")


class AlgorithmSpec(Settings):
    """GRPO as the backend runs it. The defaults are plain GRPO with one update per batch and no KL term."""

    groups_per_step: int = Field(default=32, ge=1, description="prompt groups trained on per step (B)")
    group_size: int = Field(default=8, ge=2, description="rollouts per question (G)")
    updates_per_batch: int = Field(default=1, ge=1, description="optimizer steps per batch")
    max_steps: int = Field(default=48, ge=1, description="training steps; raising it extends a finished run")
    learning_rate: float = Field(default=1e-3, gt=0)
    lr_schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup_steps: int = Field(default=0, ge=0, description="training steps of linear warm-up")
    adam_beta1: float = Field(default=0.9, ge=0, lt=1)
    adam_beta2: float = Field(default=0.999, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    clip_epsilon: float = Field(default=0.2, gt=0, lt=1)
    clip_epsilon_high: float | None = Field(default=None, gt=0, description="upper clip range; null for clip_epsilon")
    kl_coefficient: float = Field(default=0.0, ge=0, description="weight of the KL term against the starting policy")
    advantage_normalization: Literal["std", "none"] = Field(default="std", description="std: the repository of DOTS + RR; none: the paper")
    loss_aggregation: Literal["token-mean", "sequence-mean", "dr-grpo"] = "token-mean"
    ratio_level: Literal["token", "sequence"] = Field(
        default="token", description="importance ratio per token, or of the completion (GSPO)"
    )
    surrogate: Literal["clip", "cispo"] = Field(
        default="clip", description="cispo: log-prob times the ratio, capped at 1 + clip_epsilon_high"
    )
    mask_truncated: bool = Field(default=False, description="leave completions that were cut off out of the loss; they count in advantages")
    drop_degenerate: bool = Field(default=False, description="leave zero-advantage groups out of the loss, same normalisation")
    max_refills: int = Field(default=4, ge=0, description="extra generation rounds for groups a strategy does not admit")
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_prompt_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int = Field(default=16, ge=1)
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    staleness: int = Field(default=0, ge=0, description="training steps by which the policy that samples lags behind the one trained")
    behaviour_log_probs: Literal["engine", "actor"] = Field(
        default="engine", description="μ: as the inference engine sampled, or recomputed by the actor before the update"
    )

    @model_validator(mode="after")
    def _consistent(self) -> AlgorithmSpec:
        if self.drop_degenerate and self.kl_coefficient != 0:
            raise ValueError(
                "drop_degenerate needs kl_coefficient = 0: with a KL term a group of equal rewards still carries gradient, "
                "so leaving it out would change the training"
            )
        needed = {"ratio_level": ("sequence", "sequence-mean"), "surrogate": ("cispo", "token-mean")}
        for name, (value, aggregation) in needed.items():
            if getattr(self, name) == value and self.loss_aggregation != aggregation:
                raise ValueError(f"{name} = '{value}' is defined with loss_aggregation = '{aggregation}', not '{self.loss_aggregation}'")
        if self.ratio_level == "sequence" and self.surrogate == "cispo":
            raise ValueError("surrogate = 'cispo' weights each token by its own ratio; it does not go with ratio_level = 'sequence'")
        rollouts = self.groups_per_step * self.group_size
        if rollouts % self.updates_per_batch:
            raise ValueError(
                f"updates_per_batch = {self.updates_per_batch} does not divide a batch of {rollouts} rollouts "
                f"(groups_per_step {self.groups_per_step} x group_size {self.group_size})"
            )
        return self


class EvaluationSpec(Settings):
    """How accuracy is measured; always off the clock."""

    every_steps: int = Field(default=4, ge=1)
    sets: tuple[str, ...] = Field(default=("test",), min_length=1, strict=False, description="evaluation sets of the task")
    also: tuple[str, ...] = Field(default=(), strict=False, description="further sets that are measured and shown, but not in the mean")
    samples_per_question: int = Field(default=1, ge=1)
    temperature: float | None = Field(default=None, ge=0, description="null: as in training; 0: greedy")
    top_p: float | None = Field(default=None, gt=0, le=1, description="null: as in training")
    max_questions: int | None = Field(default=None, ge=1, description="at most so many questions per set; null for all")
    diagnostic_questions: int = Field(default=64, ge=0, description="training questions rolled out to judge the predictor; 0 for none")
    diagnostic_every: int = Field(default=2, ge=1, description="evaluations between two such checks")

    @model_validator(mode="after")
    def _no_repeats(self) -> EvaluationSpec:
        if len(set(self.sets)) != len(self.sets):
            raise ValueError(f"sets names an evaluation set twice: {', '.join(self.sets)}")
        if len(set(self.all_sets)) != len(self.all_sets):
            raise ValueError(f"also names a set that is there already: {', '.join(self.all_sets)}")
        return self

    @property
    def all_sets(self) -> tuple[str, ...]:
        """Every set that is measured: those of the mean first."""
        return self.sets + self.also

    def accuracy(self, accuracies: Mapping[str, float]) -> float:
        """The accuracy that counts: the mean over ``sets``."""
        return sum(accuracies[name] for name in self.sets) / len(self.sets)


class ExecutionSpec(Settings):
    """How a run is executed; never changes which run it is."""

    threads: int = Field(default=1, ge=1, description="CPU threads per run")
    checkpoint_every_steps: int = Field(default=16, ge=1)
    micro_batch_rollouts: int | None = Field(default=None, ge=1, description="rollouts per forward pass; null for a whole mini-batch")
    gradient_checkpointing: bool | None = Field(default=None, description="recompute activations in the backward pass; null: on GPUs only")
    generation: Literal["decoder", "generate", "vllm-colocate", "vllm-server", "vllm", "sglang"] = "decoder"
    device: str = Field(default="auto", min_length=1, description="auto, cpu, cuda or cuda:N")
    processes: int = Field(default=1, ge=1, description="processes of one run (data parallel)")
    nodes: int = Field(default=1, ge=1, description="machines over which a run's processes are spread (verl)")
    engine: dict[str, JsonValue] = Field(default_factory=dict, description="further settings of the engine, in its own keys")
    attempts: int = Field(default=3, ge=1, description="how often an interrupted run is started by one command")
    reward_seconds: float = Field(default=5.0, gt=0, description="time limit per answer of the reward")
    silence_seconds: float = Field(default=600.0, gt=0, description="a worker that records nothing for so long is stopped")
    keep_rollouts: bool = False
    trackers: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = Field(default=(), strict=False)
    python: dict[str, str] = Field(default_factory=dict, description="interpreter per backend; default: the one halfway runs in")


class TargetSpec(Settings):
    """The accuracy that counts as reached: exactly one of a share of the baseline's gain, a fixed value, its final value."""

    share_of_gain: float | None = Field(default=None, gt=0, le=1, description="base accuracy + share x median gain of the baseline")
    accuracy: float | None = Field(default=None, gt=0, le=1, description="a fixed accuracy")
    final: bool = Field(default=False, description="the baseline's final accuracy (the paper's rule)")
    crossing: Literal["sustained", "first"] = "sustained"

    @model_validator(mode="before")
    @classmethod
    def _default_rule(cls, data: Any) -> Any:
        if isinstance(data, dict) and not any(data.get(rule) for rule in ("share_of_gain", "accuracy", "final")):
            return {"share_of_gain": 0.9, **{k: v for k, v in data.items() if v is not None}}
        return data

    @model_validator(mode="after")
    def _one_rule(self) -> TargetSpec:
        if (self.share_of_gain is not None) + (self.accuracy is not None) + self.final > 1:
            raise ValueError("give one of share_of_gain, accuracy and final, not several")
        return self


class BudgetSpec(Settings):
    """Where a run stops early, at its next checkpoint; null for no limit."""

    training_seconds: float | None = Field(default=None, gt=0)
    generated_tokens: int | None = Field(default=None, ge=1)

    def reached(self, costs: Costs) -> bool:
        """Whether the costs of a step or evaluation are at or past a limit."""
        limits = ((self.training_seconds, costs.training_seconds), (self.generated_tokens, costs.generated_tokens))
        return any(limit is not None and spent >= limit for limit, spent in limits)


class RunSpec(Settings):
    """One run, all settings resolved: the ``spec`` of the ledger's ``run`` record and of ``spec.json``."""

    suite: str = Field(pattern=SLUG)
    combination: CombinationSpec
    strategy: StrategySpec
    algorithm: AlgorithmSpec = AlgorithmSpec()
    evaluation: EvaluationSpec = EvaluationSpec()
    seed: int = Field(ge=0, lt=2**31)
    execution: ExecutionSpec = ExecutionSpec()
    target: TargetSpec = TargetSpec()
    budget: BudgetSpec = BudgetSpec()

    @property
    def run_id(self) -> str:
        """12 hex digits of the SHA-256 of the canonical JSON of the identity fields."""
        text = json.dumps(self.identity(), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def title(self) -> str:
        """Combination, arm and seed: how a person names this run."""
        return f"{self.combination.name}/{self.strategy.label}/{self.seed}"

    def identity(self) -> dict[str, Any]:
        """The identity fields by dotted path."""
        data = self.model_dump(mode="json")
        chosen: dict[str, Any] = {path: _at(data, path) for path in sorted(IDENTITY)}
        chosen |= {path: value for path, default in LATER_IDENTITY.items() if (value := _at(data, path)) != default}
        if self.algorithm.lr_schedule != "constant":
            # A schedule that ends at max_steps trains differently for another max_steps: it is then no mere budget.
            chosen["algorithm.max_steps"] = self.algorithm.max_steps
        return {"version": IDENTITY_VERSION, **chosen}

    def save(self, path: Path) -> None:
        """Write as JSON: the whole file or nothing."""
        write_text(path, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> RunSpec:
        """Read ``spec.json``. Raises SpecError if it cannot be read or is not a spec of this version."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            where, words = explain(error.errors()[0], cls)
            raise SpecError(
                f"{path}: {'.'.join(map(str, where)) or 'spec'}: {words}; it was not written by this version of Halfway: "
                "move the run's folder away and run it again"
            ) from error


def _paths(section: str, *names: str) -> frozenset[str]:
    return frozenset(f"{section}.{name}" for name in names)


IDENTITY: frozenset[str] = (
    _paths("combination", "backend", "model.name", "model.revision", "task.name", "task.config", "task.version")
    | _paths("strategy", "name", "version", "config", "uncharged_oracle", "predictor_digest")
    | _paths("algorithm", "groups_per_step", "group_size", "updates_per_batch", "learning_rate", "lr_schedule", "warmup_steps")
    | _paths("algorithm", "adam_beta1", "adam_beta2", "weight_decay", "max_grad_norm", "clip_epsilon", "clip_epsilon_high")
    | _paths("algorithm", "kl_coefficient", "advantage_normalization", "loss_aggregation", "drop_degenerate", "max_refills")
    | _paths("algorithm", "temperature", "top_p", "max_prompt_tokens", "max_completion_tokens", "precision")
    | _paths("algorithm", "behaviour_log_probs")
    | _paths("evaluation", "every_steps", "sets", "samples_per_question", "temperature", "top_p", "max_questions")
    | _paths("evaluation", "diagnostic_questions", "diagnostic_every", "also")
    | {"seed"}
)
"""Dotted paths that say which run it is."""

LATER_IDENTITY: dict[str, Any] = {
    "combination.model.lora.rank": None, "combination.model.lora.alpha": None, "combination.model.lora.modules": None,
    "algorithm.ratio_level": "token", "algorithm.surrogate": "clip", "algorithm.mask_truncated": False, "algorithm.staleness": 0,
}  # fmt: skip
"""Identity fields that were added later, with the value that leaves a run what it was before they were there."""

EXECUTION: frozenset[str] = (
    _paths("execution", "threads", "checkpoint_every_steps", "micro_batch_rollouts", "gradient_checkpointing", "generation", "device")
    | _paths("execution", "processes", "nodes", "engine")
    | _paths("execution", "attempts", "reward_seconds", "silence_seconds", "keep_rollouts", "trackers", "python")
    | _paths("target", "share_of_gain", "accuracy", "final", "crossing")
    | _paths("budget", "training_seconds", "generated_tokens")
    | {"suite", "combination.name", "combination.task.folder", "strategy.label", "strategy.plugin", "algorithm.max_steps"}
)
"""Dotted paths that may change without making it another run."""


def _at(data: Any, path: str) -> Any:
    for part in path.split("."):
        if data is None:  # a section that is not there
            return None
        data = data[part]
    return data
