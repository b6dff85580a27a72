"""DeepSpeed and FSDP2 under TRL, on two real processes: the records of a run do not depend on where its weights lie."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from backends.trl.config import grpo_config
from backends.trl.older_weights import OlderWeights
from backends.trl.sharding import sharding_config
from harness.errors import UserError
from harness.records.checkpoint import newest_complete
from harness.records.ledger import LedgerWriter, RunLog, read_ledger
from harness.records.ledger_records import Attempt
from harness.spec import RunSpec
from tests.backends.trl.conftest import make_spec, train, with_lora

needs_deepspeed = pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="needs DeepSpeed: nox -s trl_sharded")
ZERO_2, ZERO_3 = ({"deepspeed": {"zero_optimization": {"stage": stage}}} for stage in (2, 3))
FSDP: dict[str, Any] = {"fsdp_config": {}}
SHARDS = [  # what a checkpoint holds, and how much of the weights each of two ranks does
    pytest.param(FSDP, "pytorch_model_fsdp.bin", 0.5, id="fsdp2"),
    pytest.param(ZERO_2, "global_step*/zero_pp_rank_1_*optim_states.pt", 1.0, id="zero2", marks=needs_deepspeed),
    pytest.param(ZERO_3, "global_step*/zero_pp_rank_1_*model_states.pt", 0.5, id="zero3", marks=needs_deepspeed),
]
VARIANTS = [
    *(
        pytest.param(what, engine, id=f"{what}-{name}")
        for what in ("kl", "generate", "lora", "lean")
        for name, engine in (("fsdp2", FSDP), ("zero2", ZERO_2), ("zero3", ZERO_3))
    ),
    pytest.param("staleness", ZERO_2, id="staleness-zero2"),  # the others refuse it: test_what_a_run_cannot_have
]
DOTS_RR = {"references": 8, "capacity": 16}


def spec_of(engine: dict[str, Any], algorithm: dict[str, Any], **execution: Any) -> RunSpec:
    """DOTS + RR on two processes, two updates a batch in two micro-batches each."""
    execution = {"micro_batch_rollouts": 4, **execution}
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
@pytest.mark.sharded
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("engine", "shard", "share"), SHARDS)
def test_a_sharded_run_is_the_run_of_whole_models(
    engine: dict[str, Any], shard: str, share: float, whole: RunLog, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Probes, replay, two updates a batch, evaluations; stopped at step 2 and resumed from shards."""
    from backends.trl import launch
    from backends.trl.backend import TrlBackend

    monkeypatch.setattr(launch, "RANK_MODULE", "tests.backends.trl.sharded_rank")
    train(spec_of(engine, {"max_steps": 2}), tmp_path, cache)
    found = newest_complete(tmp_path / "checkpoints")
    assert found is not None
    step, folder = found
    assert step == 2
    assert list(folder.glob(shard))
    for rank in range(2):
        facts = json.loads((tmp_path / f"shard-{rank}.json").read_text())
        assert facts["here"] / facts["whole"] == pytest.approx(share, abs=0.02)
    ledger = LedgerWriter(tmp_path / "ledger.jsonl")
    ledger.write(Attempt(2, {}, step))
    longer = spec_of(engine, {"max_steps": 4})
    longer.save(tmp_path / "spec.json")  # the ranks read it there
    TrlBackend().train(longer, tmp_path, cache, ledger, folder)
    ledger.close()
    assert_same(read_ledger(tmp_path / "ledger.jsonl"), whole)


@pytest.mark.slow
@pytest.mark.sharded
@needs_deepspeed  # FSDP2 with each of them is left to that session, too
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("what", "engine"), VARIANTS)
def test_what_goes_with_shards(what: str, engine: dict[str, Any], tmp_path: Path, cache: Path) -> None:
    """A reference model, TRL's own generation, adapters, dropped groups with gradient checkpointing, older weights."""
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


@pytest.mark.slow
@pytest.mark.sharded
@needs_deepspeed  # left to that session, like the variants above
def test_a_process_of_its_own_is_a_group_too(tmp_path: Path, cache: Path) -> None:
    """One process with FSDP is launched like several, and trains."""
    log = train(make_spec("grpo", algorithm={"max_steps": 1}, engine=FSDP), tmp_path, cache)
    assert [s.step for s in log.steps] == [1]


ZERO: dict[str, Any] = {"zero_optimization": {"stage": 1}}


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ({"deepspeed": ZERO, "fsdp_config": {}}, "deepspeed and fsdp_config both shard the model"),
        ({"deepspeed": {}}, r"zero_optimization\.stage = None; it shards with 1, 2 or 3"),
        ({"deepspeed": {"zero_optimization": {"stage": 0}}}, r"zero_optimization\.stage = 0; it shards with 1, 2 or 3"),
        ({"deepspeed": {"zero_optimization": {"stage": 3, "zenflow": {}, "zero_quantized_gradients": True}}}, "gradients changes what is"),
        (
            {"deepspeed": {**ZERO, "optimizer": {"type": "AdamW", "params": {"lr": 1e-5}}}},
            r"deepspeed: optimizer is decided by \[algorithm\]",
        ),
        ({"deepspeed": {**ZERO, "bf16": {"enabled": True}}}, r"deepspeed: bf16 is decided by \[algorithm\] precision"),
        ({"deepspeed": {**ZERO, "train_batch_size": 8}}, "train_batch_size is decided by"),
        ({"deepspeed": {**ZERO, "gradient_cliping": 1}}, "'gradient_cliping' is not a section .*did you mean 'gradient_clipping'"),
        ({"deepspeed": {**ZERO, "torch_autocast": {"enabled": True}}}, "'torch_autocast' is not a section that a run may choose"),
        (
            {"deepspeed": "zero3.json"},
            r"deepspeed = 'zero3.json' must be the table itself.*deepspeed = \{ zero_optimization = \{ stage = 3 \} \}",
        ),
        ({"fsdp_config": True}, r"fsdp_config = True must be the table itself.*fsdp_config = \{\}"),
        ({"fsdp_config": {"version": 1}}, "fsdp_config: version: must be 2, not 1"),
        ({"fsdp_config": {"auto_wrap_policy": "transformer"}}, "fsdp_config: auto_wrap_policy: must be 'TRANSFORMER_BASED_WRAP'"),
        ({"fsdp_config": {"reshard_after_forward": 4}}, "fsdp_config: reshard_after_forward: must be true or false, not 4"),
        (
            {"fsdp_config": {"transformer_layer_cls_to_wrap": 3}},
            "fsdp_config: transformer_layer_cls_to_wrap: must be a list, not 3",
        ),
        ({"fsdp_config": {"min_num_params": 5}}, "min_num_params is for auto_wrap_policy = 'SIZE_BASED_WRAP'"),
        ({"fsdp_config": {"fsdp_reshard_after_foward": True}}, "did you mean 'reshard_after_forward'"),
        ({"deepspeedd": ZERO}, "'deepspeedd' is for vLLM; .* takes deepspeed and fsdp_config there"),
    ],
)
def test_what_a_table_may_not_hold(engine: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        grpo_config(make_spec("grpo", engine=engine), tmp_path, 1, True)


@pytest.mark.parametrize("engine", [ZERO_3, FSDP])
def test_what_a_run_cannot_have(engine: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="staleness = 1 keeps copies of whole weights, which ZeRO 3 and FSDP take apart"):
        sharding_config(make_spec("grpo", algorithm={"staleness": 1}, engine=engine))
    with pytest.raises(UserError, match=r"precision = 'bfloat16': under shards TRL rounds .* use float32"):
        sharding_config(make_spec("grpo", algorithm={"precision": "bfloat16"}, engine=engine))
    adapted = with_lora(make_spec("grpo", engine=engine, generation="vllm-colocate"), rank=4)
    if engine is FSDP:
        with pytest.raises(UserError, match="cannot merge sharded adapters for vLLM"):
            sharding_config(adapted)
    else:
        assert sharding_config(adapted)


def test_what_follows_from_the_run_is_left_to_transformers() -> None:
    """A checkpoint of ZeRO 3 has a model, and an offloaded optimizer stays the suite's."""
    table = {"zero_optimization": {"stage": 3, "overlap_comm": True}, "bf16": {"enabled": "auto"}, "fp16": {"enabled": False}}
    assert sharding_config(make_spec("grpo", engine={"deepspeed": table})) == {
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


@needs_deepspeed
def test_a_key_that_deepspeed_does_not_know_is_named_before_anything_is_prepared(tmp_path: Path) -> None:
    from backends.trl.backend import TrlBackend

    engine = {"deepspeed": {"zero_optimization": {"stage": 3, "overlp_comm": True}}}
    with pytest.raises(UserError, match=r"zero_optimization\.overlp_comm: unknown key 'overlp_comm'; did you mean 'overlap_comm'\?"):
        TrlBackend().prepare(make_spec("grpo", engine=engine), tmp_path, lambda *_: None)
    assert not list(tmp_path.iterdir())


def test_without_staleness_no_parameter_is_kept() -> None:
    """FSDP frees the whole weights only when nothing else refers to them."""
    import weakref

    import torch

    model = torch.nn.Linear(2, 2)
    older, weight = OlderWeights(model, 0), weakref.ref(model.weight)
    del model
    assert weight() is None
    assert older is not None


@pytest.mark.skipif(importlib.util.find_spec("deepspeed") is not None, reason="DeepSpeed is installed here")
def test_a_missing_deepspeed_is_named_before_anything_is_prepared(tmp_path: Path) -> None:
    from backends.trl.backend import TrlBackend

    with pytest.raises(UserError, match=r"not installed here; pip install 'halfway\[deepspeed\]'"):
        TrlBackend().prepare(make_spec("grpo", engine=ZERO_3), tmp_path, lambda *_: None)
    assert not list(tmp_path.iterdir())
