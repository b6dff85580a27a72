"""What a run may set of TRL's vLLM, and what is refused before an engine is built; vLLM itself is not needed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from backends.trl.config import grpo_config
from backends.trl.vllm import engine_settings, rank_seed
from harness.errors import UserError
from harness.spec import RunSpec
from tests.backends.trl.conftest import make_spec


def config(tmp_path: Path, algorithm: dict[str, Any] | None = None, use_cpu: bool = True, **execution: Any) -> Any:
    return grpo_config(make_spec(algorithm=algorithm, **execution), tmp_path, 1, use_cpu)


def test_trls_own_correction_of_fresh_rows_is_off(tmp_path: Path) -> None:
    """Fresh rollouts count as the policy's own, as on verl and with the decoder: arms differ in selection and replay alone."""
    found = config(tmp_path, generation="vllm-colocate", engine={"vllm_gpu_memory_utilization": 0.5})
    assert (found.use_vllm, found.vllm_mode, found.vllm_gpu_memory_utilization) == (True, "colocate", 0.5)
    assert found.vllm_importance_sampling_correction is False


REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({}, {"generation": "decoder", "engine": {"vllm_model_impl": "vllm"}}, "is for vLLM; set generation = 'vllm-colocate'"),
    ({}, {"engine": {"vllm_gpu_memory_utilisation": 0.5}}, "did you mean 'vllm_gpu_memory_utilization'"),
    ({}, {"engine": {"beta": 0.1}}, "'beta' is not a setting of TRL's vLLM"),
    ({}, {"engine": {"vllm": {"dtype": "float16"}}}, r"vllm\.dtype is decided by \[algorithm\] precision"),
    ({}, {"engine": {"vllm": {"seed": 3}}}, r"vllm\.seed is decided by the run's seed"),
    ({}, {"engine": {"vllm": 3}}, "vllm must be a table"),
    ({}, {"engine": {"vllm_tensor_parallel_size": 2}}, "vllm_tensor_parallel_size = 2 does not divide processes = 1"),
    ({}, {"generation": "vllm-server"}, "needs a GPU: TRL sends the server its weights with NCCL"),
    ({"top_p": 0.9}, {}, r"vLLM's log-probs are those of the nucleus.*behaviour_log_probs = 'actor', or top_p = 1"),
    ({}, {"nodes": 2, "processes": 2}, "execution.nodes is for the verl backend"),
]


@pytest.mark.parametrize(("algorithm", "execution", "words"), REFUSED)
def test_refusals(algorithm: dict[str, Any], execution: dict[str, Any], words: str, tmp_path: Path) -> None:
    """One sentence each, with the setting to use instead."""
    with pytest.raises(UserError, match=words):
        config(tmp_path, algorithm, **{"generation": "vllm-colocate", **execution})


def test_a_nucleus_with_the_actors_log_probs_and_a_server_on_gpus_are_taken(tmp_path: Path) -> None:
    assert config(tmp_path, {"top_p": 0.9, "behaviour_log_probs": "actor"}, generation="vllm-colocate").top_p == 0.9
    assert config(tmp_path, generation="vllm-server", use_cpu=False).vllm_mode == "server"
    with pytest.raises(UserError, match="are for vllm-colocate; give them to the server"):
        config(tmp_path, generation="vllm-server", use_cpu=False, engine={"vllm": {"enforce_eager": True}})


def test_the_engine_is_built_with_the_runs_settings_for_the_block_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Precision, seed and the run's own arguments, over what TRL passes; afterwards TRL's constructor is what it was."""
    from trl.generation import vllm_generation

    built: list[dict[str, Any]] = []
    own = SimpleNamespace(build=lambda **given: built.append(given))
    monkeypatch.setattr(vllm_generation, "LLM", own.build, raising=False)
    spec: RunSpec = make_spec(
        algorithm={"precision": "bfloat16"}, seed=7, generation="vllm-colocate", engine={"vllm": {"max_num_batched_tokens": 64}}
    )
    with engine_settings(spec, use_cpu=False):
        vllm_generation.LLM(model="m", seed=1, max_num_batched_tokens=4096)
    expected = {"model": "m", "seed": 8, "max_num_batched_tokens": 64, "dtype": "bfloat16", "revision": None}
    assert built == [expected]
    assert vllm_generation.LLM is own.build


def test_ranks_of_one_engine_draw_alike() -> None:
    """With tensor parallelism, the ranks that share an engine have one seed; others have their own."""
    spec = make_spec(generation="vllm-colocate", processes=4, engine={"vllm_tensor_parallel_size": 2})
    assert [rank_seed(spec, 10, rank) for rank in range(4)] == [10, 10, 11, 11]
    assert [rank_seed(make_spec(processes=2), 10, rank) for rank in range(2)] == [10, 11]
