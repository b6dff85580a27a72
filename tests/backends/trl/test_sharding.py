"""DeepSpeed and FSDP2 under TRL, on two real processes: the records of a run do not depend on where its weights lie."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from backends.trl.config import grpo_config
from harness.errors import UserError
from harness.records.checkpoint import newest_complete
from harness.records.ledger import LedgerWriter, RunLog, read_ledger
from harness.records.ledger_records import Attempt
from harness.spec import RunSpec
from tests.backends.trl.conftest import make_spec, train, with_lora

needs_deepspeed = pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="needs DeepSpeed: nox -s trl_sharded")
ZERO_2, ZERO_3 = ({"deepspeed": {"zero_optimization": {"stage": stage}}} for stage in (2, 3))
FSDP: dict[str, Any] = {"fsdp_config": {}}
SHARDS = [
    pytest.param(FSDP, "pytorch_model_fsdp.bin", id="fsdp2"),
    pytest.param(ZERO_2, "global_step*/zero_pp_rank_1_*optim_states.pt", id="zero2", marks=needs_deepspeed),
    pytest.param(ZERO_3, "global_step*/zero_pp_rank_1_*model_states.pt", id="zero3", marks=needs_deepspeed),
]
DOTS_RR = {"references": 8, "capacity": 16}


def spec_of(engine: dict[str, Any], algorithm: dict[str, Any], **execution: Any) -> RunSpec:
    return make_spec("dots-rr", DOTS_RR, {"updates_per_batch": 2, **algorithm}, processes=2, engine=engine, **execution)


def assert_same(log: RunLog, other: RunLog) -> None:
    """Same questions, rewards, tokens and accuracies; losses differ by the order of sums."""
    assert [(s.question_ids, s.pass_rates, s.replayed_question_ids) for s in log.steps] == [
        (s.question_ids, s.pass_rates, s.replayed_question_ids) for s in other.steps
    ]
    assert [s.costs.trained_tokens for s in log.steps] == [s.costs.trained_tokens for s in other.steps]
    assert [s.loss for s in log.steps] == pytest.approx([s.loss for s in other.steps], abs=5e-6)
    assert [e.accuracies for e in log.evaluations] == [e.accuracies for e in other.evaluations]
    assert all(s.fresh_log_ratio is None or s.fresh_log_ratio < 1e-4 for s in log.steps)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> RunLog:
    """Four steps of DOTS + RR on two processes that each hold the whole model."""
    return train(spec_of({}, {"max_steps": 4}), tmp_path_factory.mktemp("whole"), cache)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("engine", "shard"), SHARDS)
def test_a_sharded_run_is_the_run_of_whole_models(engine: dict[str, Any], shard: str, whole: RunLog, tmp_path: Path, cache: Path) -> None:
    """Probes, replay, two updates a batch, evaluations; stopped at step 2 and resumed from shards."""
    from backends.trl.backend import TrlBackend

    train(spec_of(engine, {"max_steps": 2}), tmp_path, cache)
    found = newest_complete(tmp_path / "checkpoints")
    assert found is not None
    step, folder = found
    assert step == 2
    assert list(folder.glob(shard)), "nothing was sharded"
    ledger = LedgerWriter(tmp_path / "ledger.jsonl")
    ledger.write(Attempt(2, {}, step))
    longer = spec_of(engine, {"max_steps": 4})
    longer.save(tmp_path / "spec.json")  # the ranks read it there
    TrlBackend().train(longer, tmp_path, cache, ledger, folder)
    ledger.close()
    assert_same(read_ledger(tmp_path / "ledger.jsonl"), whole)


@pytest.mark.slow
@needs_deepspeed  # FSDP2 with each of them is left to that session, too
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("engine", "shard"), SHARDS)
@pytest.mark.parametrize("what", ["kl", "generate", "lora", "lean", "staleness"])
def test_what_goes_with_shards(what: str, engine: dict[str, Any], shard: str, tmp_path: Path, cache: Path) -> None:
    """A reference model, TRL's own generation, adapters, dropped groups with gradient checkpointing, older weights."""
    if what == "staleness" and engine is not ZERO_2:
        pytest.skip("refused: test_what_a_run_cannot_have")
    algorithm = {
        "kl": {"kl_coefficient": 0.1},
        "lean": {"drop_degenerate": True},
        "staleness": {"staleness": 1},
    }.get(what, {})
    execution: dict[str, Any] = {"generate": {"generation": "generate"}, "lean": {"gradient_checkpointing": True}}.get(what, {})
    specs = [spec_of(shards, {"max_steps": 2, **algorithm}, **execution) for shards in ({}, engine)]
    if what == "lora":
        specs = [with_lora(spec, rank=4) for spec in specs]
    plain, sharded = (train(spec, tmp_path / name, cache) for name, spec in zip(("plain", "sharded"), specs, strict=True))
    if what == "staleness":  # fresh rollouts are of older weights, so their ratios are not 1
        assert [s.question_ids for s in sharded.steps] == [s.question_ids for s in plain.steps]
        assert [s.loss for s in sharded.steps] == pytest.approx([s.loss for s in plain.steps], abs=5e-6)
        return
    assert_same(sharded, plain)


def test_a_process_of_its_own_is_a_group_too(tmp_path: Path, cache: Path) -> None:
    """One process with FSDP is launched like several, and trains."""
    log = train(make_spec("grpo", algorithm={"max_steps": 1}, engine=FSDP), tmp_path, cache)
    assert [s.step for s in log.steps] == [1]


def config(tmp_path: Path, engine: dict[str, Any], algorithm: dict[str, Any] | None = None, **execution: Any) -> Any:
    spec = make_spec("grpo", algorithm=algorithm, engine=engine, **execution)
    spec = spec.model_copy(
        update={
            "combination": spec.combination.model_copy(update={"task": spec.combination.task.model_copy(update={"folder": str(tmp_path)})})
        }
    )
    return grpo_config(spec, tmp_path, 1, True)


ZERO: dict[str, Any] = {"zero_optimization": {"stage": 1}}


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ({"deepspeed": ZERO, "fsdp_config": {}}, "deepspeed and fsdp_config both shard the model"),
        ({"deepspeed": {}}, r"zero_optimization\.stage = None; it shards with 1, 2 or 3"),
        ({"deepspeed": {"zero_optimization": {"stage": 0}}}, r"zero_optimization\.stage = 0; it shards with 1, 2 or 3"),
        (
            {"deepspeed": {**ZERO, "optimizer": {"type": "AdamW", "params": {"lr": 1e-5}}}},
            r"deepspeed: optimizer is decided by \[algorithm\]",
        ),
        ({"deepspeed": {**ZERO, "bf16": {"enabled": True}}}, r"deepspeed: bf16 is decided by \[algorithm\] precision"),
        ({"deepspeed": {**ZERO, "train_batch_size": 8}}, "train_batch_size is decided by"),
        ({"deepspeed": 3}, "deepspeed must be a table or the name of a JSON file, not 3"),
        ({"deepspeed": "absent.json"}, r"cannot read .*absent\.json: No such file"),
        ({"deepspeed": "broken.json"}, r"broken\.json is not JSON"),
        ({"deepspeed": "list.json"}, r"list\.json must hold a JSON object"),
        ({"fsdp_config": {"version": 1}}, "version = 1; the backend shards with FSDP2 only"),
        ({"fsdp_config": {"reshard_after_foward": True}}, "did you mean 'reshard_after_forward'"),
        ({"deepspeedd": ZERO}, "'deepspeedd' is for vLLM; .* takes deepspeed and fsdp_config there"),
    ],
)
def test_what_a_table_may_not_hold(engine: dict[str, Any], words: str, tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(UserError, match=words):
        config(tmp_path, engine)


@pytest.mark.parametrize("engine", [ZERO_3, FSDP])
def test_what_a_run_cannot_have(engine: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="staleness = 1 keeps copies of whole weights, which ZeRO 3 and FSDP take apart"):
        config(tmp_path, engine, {"staleness": 1})
    with pytest.raises(UserError, match="precision = 'bfloat16' is sharded on GPUs only"):
        config(tmp_path, engine, {"precision": "bfloat16"})


def test_a_deepspeed_file_beside_the_suite(tmp_path: Path) -> None:
    """What follows from the run is left to transformers, and a checkpoint of ZeRO 3 has a model."""
    from backends.trl.sharding import sharding_config

    (tmp_path / "zero3.json").write_text(
        '{"zero_optimization": {"stage": 3, "overlap_comm": true}, "bf16": {"enabled": "auto"}, "fp16": {"enabled": false}}'
    )
    spec = make_spec("grpo", engine={"deepspeed": "zero3.json"})
    task = spec.combination.task.model_copy(update={"folder": str(tmp_path)})
    spec = spec.model_copy(update={"combination": spec.combination.model_copy(update={"task": task})})
    assert sharding_config(spec, use_cpu=True) == {
        "deepspeed": {
            "train_batch_size": "auto",
            "train_micro_batch_size_per_gpu": "auto",
            "gradient_accumulation_steps": "auto",
            "gradient_clipping": "auto",
            "zero_force_ds_cpu_optimizer": False,
            "zero_optimization": {"stage": 3, "overlap_comm": True, "stage3_gather_16bit_weights_on_model_save": True},
            "bf16": {"enabled": "auto"},
            "fp16": {"enabled": False},
        }
    }


@pytest.mark.skipif(importlib.util.find_spec("deepspeed") is not None, reason="DeepSpeed is installed here")
def test_a_missing_deepspeed_is_named_before_anything_is_prepared(tmp_path: Path) -> None:
    from backends.trl.backend import TrlBackend

    with pytest.raises(UserError, match=r"not installed here; pip install 'halfway\[deepspeed\]'"):
        TrlBackend().prepare(make_spec("grpo", engine=ZERO_3), tmp_path, lambda *_: None)
    assert not list(tmp_path.iterdir())
