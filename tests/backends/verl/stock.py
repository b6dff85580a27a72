"""verl's own synchronous trainer, replay buffer and reward loop on the questions and random numbers of a Halfway run.

What is not stock is what the comparison needs: the rows of the dataset, and an agent loop that leaves the reward to verl.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

YAML = "- name: halfway\n  _target_: tests.backends.verl.stock.StockLoop\n"


class Rows(Dataset[dict[str, Any]]):
    """The requests of a Halfway run in order; ``data.train_files`` names the JSON file that holds them."""

    def __init__(self, *, data_files: Any, **_: Any) -> None:
        self._rows = json.loads(Path(str(data_files[0])).read_text(encoding="utf-8"))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self._rows[index]
        return {
            "index": index,
            "raw_prompt": [],
            "data_source": "words",
            "reward_model": {"ground_truth": row["answer"]},
            "extra_info": {},
            "halfway": row["request"],
        }


def compute_score(data_source: str, solution_str: str, ground_truth: str, extra_info: Any = None, **_: Any) -> float:
    """The task's reward, an exact match, by verl's own reward loop."""
    return float(solution_str.strip() == ground_truth.strip())


def noted_requests(prepared: Any, sent: list[dict[str, Any]]) -> Any:
    """For ``patched(VerlRolloutEngine, "_submit", …)``: notes every request for training, with the gold answer, in ``sent``."""
    from backends.common.model_loading import load_tokenizer
    from backends.common.prompts import encode_prompts

    questions = prepared.task.split("train")
    encoded = encode_prompts(load_tokenizer(prepared.model)[0], prepared.task, questions)
    answers = {tuple(p): q.answer for p, q in zip(encoded, questions, strict=True)}

    def submit(original: Any) -> Any:
        def noted(self: Any, uids: Any, prompts: Any, counts: Any, firsts: Any, sampling: Any, partition: str) -> None:
            if partition == "train":
                requests = [{"prompt": p, "row": f, "sampling": sampling} for p, f in zip(prompts, firsts, strict=True)]
                sent.extend({"request": r, "answer": answers[tuple(r["prompt"])]} for r in requests)
            original(self, uids, prompts, counts, firsts, sampling, partition)

        return noted

    return submit


def train_stock(
    spec: Any, prepared: Any, rows: list[dict[str, Any]], folder: Path, watch: bool = True
) -> tuple[list[list[Any]], list[dict[str, float]]]:
    """Train verl's own trainer on ``rows`` (dicts of request and answer); returns the rows of each update and the timings of each step."""
    from omegaconf import OmegaConf

    from backends.verl.config import Placement, default_settings, resolve_config, run_settings
    from backends.verl.run import cluster, set_environment
    from tests.backends.verl.recording import patched, rows_of_batch

    placement = Placement.of(spec, 0)
    set_environment(placement, spec)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    (folder / "loop.yaml").write_text(YAML, encoding="utf-8")
    longest = max(len(row["request"]["prompt"]) for row in rows)
    settings = run_settings(spec, None, placement, model=prepared.model, checkpoints=folder, prompt_tokens=longest, pool=len(rows))
    settings |= {
        "data.train_files": [str(folder / "rows.json")],
        "data.val_files": [str(folder / "rows.json")],
        "data.custom_cls.path": "pkg://tests.backends.verl.stock",
        "data.custom_cls.name": "Rows",
        "actor_rollout_ref.rollout.agent.agent_loop_config_path": str(folder / "loop.yaml"),
        "reward.num_workers": 1,
        "reward.custom_reward_function.path": "pkg://tests.backends.verl.stock",
        "trainer.v1.trainer_mode": "sync",
        "trainer.v1.sampler.custom_sampler.path": "pkg://tests.backends.verl.stock_buffer",
        "trainer.v1.sampler.custom_sampler.name": "QuickBuffer",
        "trainer.test_freq": -1,
        "trainer.val_before_train": False,
    }
    config = resolve_config(settings, default_settings(spec, placement), spec)
    from verl.trainer.ppo.v1 import AgentLoopManagerTQ
    from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

    seen: list[list[Any]] = []
    timings: list[dict[str, float]] = []

    def update(original: Any) -> Any:
        def recorded(self: Any, batch: Any, metrics: Any) -> Any:
            if watch:
                seen.append(rows_of_batch(batch))
            return original(self, batch, metrics)

        return recorded

    def step(original: Any) -> Any:
        def timed(self: Any, metrics: Any, timing_raw: Any) -> Any:
            batch = original(self, metrics, timing_raw)
            timings.append(timing_raw)
            return batch

        return timed

    with cluster(config) as ready, patched(PPOTrainerSync, "_update_actor", update), patched(PPOTrainerSync, "step", step):
        OmegaConf.set_struct(ready, False)
        trainer = PPOTrainerSync(ready)
        trainer.init()
        manager = AgentLoopManagerTQ.create(
            config=ready,
            llm_client=trainer.get_llm_client(),
            teacher_client=trainer.get_teacher_client(),
            reward_loop_worker_handles=trainer.get_reward_handles(),
        )
        trainer.fit(manager)
    return seen, [{name: float(value) for name, value in timing.items()} for timing in timings]


def __getattr__(name: str) -> Any:
    """``StockLoop`` is made when verl's agent-loop worker asks for it: its base class needs verl."""
    if name != "StockLoop":
        raise AttributeError(name)
    from backends.verl.agent_loop import HalfwayAgentLoop

    class StockLoop(HalfwayAgentLoop):
        async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> Any:
            output = await super().run(sampling_params, **kwargs)
            output.reward_score = None
            return output

    globals()["StockLoop"] = StockLoop
    return StockLoop
