"""Run specs: identity, extension, validation."""

from __future__ import annotations

import json
import types
import typing
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from harness.spec import (
    EXECUTION,
    IDENTITY,
    LATER_IDENTITY,
    AlgorithmSpec,
    BudgetSpec,
    CombinationSpec,
    EvaluationSpec,
    ExecutionSpec,
    LoraSpec,
    ModelSpec,
    RunSpec,
    SpecError,
    StrategySpec,
    TargetSpec,
    TaskSpec,
    explain,
)
from harness.suite.tuning_table import TuningTable
from harness.types import Costs
from harness.validation import most_telling


def make(**changes: Any) -> RunSpec:
    base: dict[str, Any] = {
        "suite": "s",
        "combination": CombinationSpec(name="c", backend="trl", model=ModelSpec(name="m"), task=TaskSpec(name="t", config={"a": 1})),
        "strategy": StrategySpec(label="l", name="grpo", version="v:1", config={"k": 0.5}),
        "seed": 1,
    }
    return RunSpec(**{**base, **changes})


def leaves(model: type[BaseModel], prefix: str = "") -> set[str]:
    found = set()
    for name, info in model.model_fields.items():
        kind = info.annotation
        options = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
        below = next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)
        found |= leaves(below, f"{prefix}{name}.") if below else {prefix + name}
    return found


def test_every_field_is_identity_or_execution() -> None:
    """A new field makes this fail until somebody has decided whether it changes which run it is."""
    assert leaves(RunSpec) == IDENTITY | EXECUTION | set(LATER_IDENTITY)
    assert not IDENTITY & EXECUTION
    assert not set(LATER_IDENTITY) & (IDENTITY | EXECUTION)


OTHER: dict[str, Any] = {
    "algorithm.behaviour_log_probs": "actor",
    "execution.engine": {"actor_rollout_ref.rollout.gpu_memory_utilization": 0.8},
    "combination.task.version": "2+reasoning-gym-0.2",
    "suite": "other", "seed": 2, "combination.name": "other", "combination.backend": "verl", "combination.model.name": "other",
    "combination.model.revision": "abc", "combination.task.name": "other", "combination.task.config": {"a": 2},
    "strategy.label": "other", "strategy.name": "rr", "strategy.version": "v:2", "strategy.config": {"k": 0.6},
    "strategy.uncharged_oracle": True, "strategy.plugin": "a:B", "algorithm.lr_schedule": "linear",
    "strategy.predictor_digest": "0f", "combination.task.folder": "/elsewhere",
    "algorithm.advantage_normalization": "none", "algorithm.loss_aggregation": "dr-grpo", "algorithm.precision": "bfloat16",
    "algorithm.clip_epsilon_high": 0.28, "algorithm.max_prompt_tokens": 9, "algorithm.top_p": 0.9, "algorithm.updates_per_batch": 2,
    "evaluation.sets": ["test", "other"], "evaluation.temperature": 0.0, "evaluation.top_p": 0.9, "evaluation.max_questions": 9,
    "evaluation.also": ["other"],
    "execution.micro_batch_rollouts": 9, "execution.generation": "generate", "execution.device": "cpu", "execution.trackers": ["wandb"],
    "execution.python": {"verl": "/p"}, "target.share_of_gain": 0.5, "target.accuracy": 0.5, "target.crossing": "first",
    "budget.training_seconds": 9.0, "budget.generated_tokens": 9, "algorithm.surrogate": "cispo",
    "execution.gradient_checkpointing": True,
}  # fmt: skip


def changed(path: str) -> RunSpec:
    data = make().model_dump(mode="json")
    node = data
    *parents, last = path.split(".")
    for part in parents:
        node = node[part]
    old = node[last]
    if path in ("target.accuracy", "target.final"):
        data["target"]["share_of_gain"] = None
    node[last] = (
        OTHER[path] if path in OTHER else (not old if isinstance(old, bool) else old * 0.5 if isinstance(old, float) and old else old + 1)
    )
    return RunSpec.model_validate(data)


@pytest.mark.parametrize("path", [*sorted(IDENTITY), "algorithm.surrogate", "algorithm.mask_truncated", "algorithm.staleness"])
def test_another_identity_is_another_run(path: str) -> None:
    """Changing any identity field changes the run id."""
    assert changed(path).run_id != make().run_id


@pytest.mark.parametrize("path", sorted(EXECUTION))
def test_execution_does_not_change_the_run(path: str) -> None:
    """Labels, worker counts, targets, budgets and more steps leave the run id alone."""
    other = changed(path)
    assert other != make()
    assert other.run_id == make().run_id


def test_fields_that_were_added_later_leave_older_runs_alone() -> None:
    """At its default such a field is not hashed; a run of GSPO is another one than GRPO with the same aggregation."""
    assert not set(LATER_IDENTITY) & set(make().identity())
    grpo, gspo = (make(algorithm=AlgorithmSpec(loss_aggregation="sequence-mean", ratio_level=level)) for level in ("token", "sequence"))
    assert grpo.run_id != gspo.run_id
    assert "algorithm.ratio_level" in gspo.identity()


def test_adapters_are_another_run() -> None:
    """Rank, alpha and layers of adapters are identity; a run without them is what it was before there were any."""
    plain = make()
    ids = {plain.run_id}
    for lora in (LoraSpec(rank=4), LoraSpec(rank=8), LoraSpec(rank=4, alpha=8.0), LoraSpec(rank=4, modules=("q_proj",))):
        model = plain.combination.model.model_copy(update={"lora": lora})
        ids.add(make(combination=plain.combination.model_copy(update={"model": model})).run_id)
    assert len(ids) == 5


def test_more_steps_under_a_schedule_is_another_run() -> None:
    """A learning rate that ends at max_steps trains differently for another max_steps."""
    ids = [make(algorithm=AlgorithmSpec(lr_schedule="cosine", max_steps=n)).run_id for n in (48, 64)]
    assert ids[0] != ids[1]


def test_the_identity_algorithm_is_pinned() -> None:
    """If this changes, every stored run would be run again without a word: raise IDENTITY_VERSION and say so."""
    assert make().run_id == "8eeab7e391f6"


def test_a_spec_survives_json_and_the_file(tmp_path: Path) -> None:
    """The spec in spec.json and in the ledger's run record is the same spec with the same id."""
    spec = make(evaluation=EvaluationSpec(sets=("a", "b")), target=TargetSpec(accuracy=0.4), budget=BudgetSpec(training_seconds=3))
    spec.save(tmp_path / "spec.json")
    for again in (RunSpec.load(tmp_path / "spec.json"), RunSpec.model_validate(json.loads(json.dumps(spec.model_dump(mode="json"))))):
        assert again == spec
        assert again.run_id == spec.run_id


@pytest.mark.parametrize(("text", "words"), [("{", "JSON"), ('{"suite": "s"}', "missing"), ("\xff\xfe", "spec.json")])
def test_a_broken_spec_file_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    """An unreadable spec.json names the file and says what to do."""
    (tmp_path / "spec.json").write_bytes(text.encode("latin1"))
    with pytest.raises(SpecError, match=words) as raised:
        RunSpec.load(tmp_path / "spec.json")
    assert "spec.json" in str(raised.value)
    assert "\n" not in str(raised.value)


BAD: list[tuple[type[BaseModel], dict[str, Any], str]] = [
    (AlgorithmSpec, {"group_size": "8"}, "must be an integer, not '8'"),
    (AlgorithmSpec, {"group_size": 1}, "must be greater than or equal to 2, not 1"),
    (AlgorithmSpec, {"learning_rate": True}, "must be a number, not True"),
    (AlgorithmSpec, {"learning_rate": float("nan")}, "must be a finite number, not nan"),
    (AlgorithmSpec, {"drop_degenerate": 1}, "must be true or false, not 1"),
    (AlgorithmSpec, {"grup_size": 8}, "unknown key 'grup_size'; did you mean 'group_size'?"),
    (AlgorithmSpec, {"loss_aggregation": "token_mean"}, "did you mean 'token-mean'?"),
    (AlgorithmSpec, {"drop_degenerate": True, "kl_coefficient": 0.1}, "a group of equal rewards still carries gradient"),
    (AlgorithmSpec, {"groups_per_step": 3, "group_size": 3, "updates_per_batch": 2}, "does not divide a batch of 9 rollouts"),
    (EvaluationSpec, {"sets": "test"}, "must be a list, not 'test'"),
    (EvaluationSpec, {"sets": []}, "must not be empty"),
    (EvaluationSpec, {"sets": ["a", "a"]}, "twice"),
    (EvaluationSpec, {"sets": ["a"], "also": ["a"]}, "also names a set that is there already"),
    (ExecutionSpec, {"generation": "vlm"}, "'vllm-server', 'vllm' or 'sglang', not 'vlm'"),
    (TargetSpec, {"accuracy": 0.5, "final": True}, "give one of"),
    (TargetSpec, {"share_of_gain": 1.5}, "must be less than or equal to 1"),
]


@pytest.mark.parametrize(("model", "settings", "words"), BAD, ids=[w for _, _, w in BAD])
def test_bad_values_are_explained(model: type[BaseModel], settings: dict[str, Any], words: str) -> None:
    """Every refusal says what was expected and what was found."""
    with pytest.raises(ValidationError) as raised:
        model(**settings)
    assert words in explain(raised.value.errors()[0], model)[1]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"target": {"share_of_gian": 0.5}}, "did you mean 'share_of_gain'?"),  # a table that may be absent
        ({"space": {"learning_rate": {"fctor": 3.0}}}, "did you mean 'factor'?"),  # a value of a mapping
        ({"trails": 3}, "did you mean 'trials'?"),
    ],
)
def test_unknown_keys_come_with_a_suggestion(table: dict[str, Any], words: str) -> None:
    """Wherever the table is: in an optional part, below a key of the user's own."""
    with pytest.raises(ValidationError) as raised:
        TuningTable(**table)
    assert explain(most_telling(raised.value), TuningTable)[1].endswith(words)


def test_the_default_target_is_ninety_percent_of_the_gain() -> None:
    """A suite that names no target rule gets share_of_gain = 0.9; the crossing rule alone does not change that."""
    assert TargetSpec().share_of_gain == 0.9
    assert TargetSpec(crossing="first").share_of_gain == 0.9
    assert TargetSpec(final=True).share_of_gain is None


def test_a_budget_counts_what_was_spent() -> None:
    """A budget is reached at its limit, on whichever ledger reaches it first."""
    budget = BudgetSpec(training_seconds=10, generated_tokens=100)
    assert not budget.reached(Costs(training_seconds=9.9, generated_tokens=99))
    assert budget.reached(Costs(training_seconds=10.0, generated_tokens=0))
    assert budget.reached(Costs(training_seconds=0.0, generated_tokens=100))
    assert not BudgetSpec().reached(Costs(training_seconds=1e9, generated_tokens=10**12))
