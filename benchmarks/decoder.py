"""Measure the decoder against Hugging Face ``generate`` on the embedded model: 32 prompts × 8 rollouts, side by side in one run.

    python benchmarks/decoder.py [--rounds 30] [--model embedded:llama-64x2]

Every round decodes new prompts once with each engine, in turn, so that a busy machine affects all of them. Prints medians over
rounds, the ratio of medians, and the median of the rounds' own ratios. Promise: at least 1.6 × faster.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from backends.common.decoder import Decoder
from backends.common.model_loading import load_model
from backends.common.prompts import encode_prompts
from backends.common.tiny_models import build_tiny_model, is_embedded
from suites.tasks.spell_backward import SpellBackward

PROMPTS, ROLLOUTS, MAX_NEW_TOKENS = 32, 8, 16


def main() -> None:
    """Measure with one and two threads and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="no effect: this benchmark is quick")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--model", default="embedded:llama-64x2")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--cache", type=Path, default=Path("runs/.cache/models"))
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    task = SpellBackward({}).build()
    name = arguments.model
    model = build_tiny_model(name, task, 0, arguments.cache) if is_embedded(name) else name
    loaded = load_model(str(model))
    prompts = encode_prompts(loaded.tokenizer, task, task.split("train"))
    engines: dict[str, Callable[[list[list[int]], int], Any]] = {
        "generate": lambda batch, seed: generate(loaded, batch, seed),
        "decoder, module forward": decode(Decoder(loaded.model, loaded.eos_ids, loaded.pad_id, fused=False)),
        "decoder, fused forward": decode(Decoder(loaded.model, loaded.eos_ids, loaded.pad_id)),
    }
    print(f"{arguments.model}, {PROMPTS} prompts x {ROLLOUTS} rollouts, at most {MAX_NEW_TOKENS} tokens, {arguments.rounds} rounds")
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        seconds: dict[str, list[float]] = {name: [] for name in engines}
        for i in range(arguments.rounds + 2):
            start = i * PROMPTS % (len(prompts) - PROMPTS)
            for name, run in engines.items():
                began = time.perf_counter()
                run(prompts[start : start + PROMPTS], i)
                seconds[name].append(time.perf_counter() - began)
        report(threads, {name: values[2:] for name, values in seconds.items()})  # two rounds to warm up


def decode(decoder: Decoder) -> Callable[[list[list[int]], int], Any]:
    """One decoding call with the settings of this benchmark."""

    def run(batch: list[list[int]], seed: int) -> Any:
        generator = torch.Generator().manual_seed(seed)
        return decoder.generate(batch, ROLLOUTS, max_new_tokens=MAX_NEW_TOKENS, generator=generator)

    return run


@torch.no_grad()
def generate(loaded: Any, batch: list[list[int]], seed: int) -> Any:
    """The same rollouts by ``generate``, without the log-probs that the decoder also returns."""
    torch.manual_seed(seed)
    inputs = loaded.tokenizer.pad({"input_ids": [p for p in batch for _ in range(ROLLOUTS)]}, return_tensors="pt")
    return loaded.model.generate(**inputs, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=MAX_NEW_TOKENS)


def report(threads: int, seconds: dict[str, list[float]]) -> None:
    """Print one line per engine: the median, and the speed relative to ``generate``."""
    base = seconds["generate"]
    print(f"\n{threads} thread{'s' if threads > 1 else ''}")
    for name, values in seconds.items():
        ratio = statistics.median(base) / statistics.median(values)
        paired = statistics.median(b / v for b, v in zip(base, values, strict=True))
        print(f"  {name:<26} {1e3 * statistics.median(values):8.1f} ms   {ratio:5.2f} x   (median of paired ratios {paired:5.2f} x)")


if __name__ == "__main__":
    main()
