"""Answers scored per second by the reward service.

    python benchmarks/reward.py [--workers 2]

Promises: at least 20,000 answers/s where a literal match or the cache decides, at least 200 distinct LaTeX answers/s otherwise on
2 cores. Beside it stand plain math-verify's speed on the same answers, and both sides' verdicts on pairs whose right verdict is known.
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import random
import resource
import time
from collections.abc import Callable
from pathlib import Path

from harness.reward.answers import math_answer
from harness.reward.grading.compare import same_answer
from harness.reward.numbers import exact_value
from harness.reward.service import RewardService
from harness.reward.spec import RewardSpec

Items = list[tuple[str, str, dict[str, object]]]
ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
GOLD = DATA / "math500.jsonl"
PAIRS = (DATA / "reward_pairs.json", ROOT / "tests" / "reward" / "pairs.json")


def main() -> None:
    """Measure every path and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="as it is: this benchmark is quick")
    parser.add_argument("--workers", type=int, default=2)
    workers = parser.parse_args().workers
    text: Items = [(f"word{i}", f"word{i if i % 3 else 0}", {}) for i in range(100_000)]
    with RewardService(RewardSpec("exact")) as service:
        measure("exact", service, text)
    with RewardService(RewardSpec("math-verify")) as service:
        measure("math-verify, literal match", service, [(rf"thus \boxed{{{i}}}", str(i), {}) for i in range(100_000)])
        measure("math-verify, plain numbers", service, [(rf"\boxed{{\frac{{{i}}}{{{i + 1}}}}}", str(i), {}) for i in range(2, 50_000)])
    for name, items in (("parsed LaTeX", synthetic(250)), ("MATH-500 golds", real())):
        if items:
            parsed(f"math-verify, {name}", items, workers)
            plain(f"plain math-verify, {name}, this process", items[:400])
    hostile()
    for path in PAIRS:
        if path.is_file():
            verdicts(path)
    with RewardService(RewardSpec("reasoning-gym:spell_backward"), workers=workers) as service:
        service.start()
        measure(f"reasoning-gym:spell_backward, {workers} workers", service, [(f"word{i}", "drow", {}) for i in range(20_000)])


def hostile() -> None:
    """Strings on which a pattern that backtracks, or a parser without a limit, would hang: processor seconds of the slowest."""
    rng = random.Random(3)
    pieces = [*"0123456789xye+-*/^_=<>()[]{}|,;:.!' ", r"\frac", r"\sqrt", r"\text{", r"\{", r"\pm", r"\begin{pmatrix}", r"\log"]
    long = ["\\boxed{" * 150_000, "{" * 1_000_000, "<answer>" * 125_000]
    numbers = ["(" + "1," * 999, r"\frac{" * 300, "1/" * 1_000, "~" * 2_000 + "x"]
    noise = ["".join(rng.choice(pieces) for _ in range(900))[:2_000] for _ in range(20)]
    for name, function, texts in (
        ("a megabyte, find the answer", math_answer, long),
        ("2,000 characters, read a number", exact_value, numbers),
        ("2,000 random characters, compare", lambda text: same_answer(text, "12,345 or x^2=3"), noise),
    ):
        slowest = 0.0
        for text in texts:
            began = time.process_time()
            function(text)
            slowest = max(slowest, time.process_time() - began)
        print(f"{name:<62} {slowest:>12.6f} processor seconds at most")


def parsed(name: str, items: Items, workers: int) -> None:
    """Answers that go to workers: per second of this clock, and per second of processor time, which a busy machine blurs less."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with RewardService(RewardSpec("math-verify"), workers=workers) as service:
        service.start()
        service.score(synthetic(10)[-40:])  # the parser is slow until it has seen a few answers
        measure(f"{name}, {workers} workers", service, items)
        measure(f"{name}, from the cache", service, items * max(1, 20_000 // len(items)))
        print(f"{'':<62} time-outs {service.timeouts}, crashes {service.crashes}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{name + ', start-up included':<62} {len(items) / spent:>12,.0f} answers per processor second")


def plain(name: str, items: Items) -> None:
    """The library alone, in one process and without time limits, each gold answer parsed once as here."""
    score = plain_scorer()
    score(*items[0][:2])
    began = time.process_time()
    mean = sum(score(completion, gold) for completion, gold, _ in items) / len(items)
    seconds = time.process_time() - began
    print(f"{name:<62} {len(items) / seconds:>12,.0f} answers per processor second   (mean score {mean:.3f})")


def plain_scorer() -> Callable[[str, str], bool]:
    """math-verify as its documentation calls it, on the completion's last box where there is one."""
    from math_verify import parse, verify

    logging.disable(logging.CRITICAL)
    parse_gold = functools.lru_cache(maxsize=10_000)(lambda gold: parse(f"\\boxed{{{gold}}}", parsing_timeout=None))

    def score(completion: str, gold: str) -> bool:
        found = parse(completion, parsing_timeout=None)
        return bool(found and verify(parse_gold(gold), found, timeout_seconds=None))

    return score


def verdicts(path: Path) -> None:
    """Wrong answers accepted and right ones refused, here and by the library alone."""
    pairs = json.loads(path.read_text(encoding="utf-8"))
    score = plain_scorer()
    with RewardService(RewardSpec("math-verify")) as service:
        ours = service.score([(p["completion"], p["gold"], {}) for p in pairs]).tolist()
    theirs = [score(p["completion"], p["gold"]) for p in pairs]
    for name, scores in (("here", ours), ("plain math-verify", theirs)):
        accepted = sum(s > p["right"] for s, p in zip(scores, pairs, strict=True))
        refused = sum(s < p["right"] for s, p in zip(scores, pairs, strict=True))
        print(f"{path.name}, {len(pairs)} pairs, {name}: {accepted} wrong answers accepted, {refused} right ones refused")


def measure(name: str, service: RewardService, items: Items) -> None:
    """One call; answers per second and mean score."""
    began = time.perf_counter()
    scores = service.score(items)
    seconds = time.perf_counter() - began
    print(f"{name:<62} {len(items) / seconds:>12,.0f} answers/s   ({len(items):,} answers, mean score {scores.mean():.3f})")


def synthetic(questions: int) -> Items:
    """Eight different answers to each of so many questions, half of them right: none is literally its gold, none a plain number."""
    rng = random.Random(0)
    items: Items = []
    for i in range(questions):
        a, b = rng.randint(2, 99), i + 2
        gold, right, wrong = (
            (rf"{a}\sqrt{{{b}}}", rf"{a * 2}\sqrt{{{b}}} - {a}\sqrt{{{b}}}", rf"{a}\sqrt{{{b + 1}}}"),
            (rf"x^2 - {a}x + {b}", rf"{b} + x^2 - {a}x", rf"x^2 - {a}x - {b}"),
            (rf"\frac{{{a}\pi}}{{{b}}}", rf"{a} \pi / {b}", rf"\frac{{{b}\pi}}{{{a}}}"),
            (rf"[{-a}, {b})", rf"\left[-{a}, {b}\right)", rf"({-a}, {b}]"),
            (rf"\{{{a}, {b + 100}\}}", rf"{b + 100}, {a}", rf"\{{{a}, {b + 101}\}}"),
        )[i % 5]
        items += [
            (rf"so it is \boxed{{{right if k % 2 else wrong}{k // 2 * ' + 0' if i % 5 < 3 else k // 2 * ' '}}}", gold, {}) for k in range(8)
        ]
    return items


def real() -> Items:
    """Gold answers of MATH-500, if they are at hand, each given as the answer to eight other questions."""
    if not GOLD.is_file():
        return []
    golds = sorted({str(json.loads(line)["answer"]) for line in GOLD.read_text(encoding="utf-8").splitlines()})
    return [(rf"\boxed{{{golds[(i + shift) % len(golds)]}}}", gold, {}) for i, gold in enumerate(golds) for shift in range(1, 9)]


if __name__ == "__main__":
    main()
