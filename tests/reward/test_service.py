"""The reward service decides what is cheap itself, leaves the rest to workers, and survives what they do."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.errors import RunFailed
from harness.reward.service import RewardService
from harness.reward.spec import RewardError, RewardSpec

#: Process ids are below this on Linux; user_rewards.process_id divides by it.
PIDS = 2**22
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def math() -> Iterator[RewardService]:
    with RewardService(RewardSpec("math-verify", seconds=2.0), workers=2) as service:
        service.start()
        yield service


@pytest.fixture(autouse=True)
def _user_module_is_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def user(name: str, seconds: float = 1.0, workers: int = 2) -> RewardService:
    return RewardService(RewardSpec(f"user_rewards:{name}", seconds=seconds), workers=workers)


def test_exact_is_equality_after_stripping() -> None:
    """No worker starts for it."""
    with RewardService(RewardSpec("exact")) as service:
        scores = service.score([(" abc\n", "abc", {}), ("ABC", "abc", {}), ("", "", {}), ("abcd", "abc", {})])
        assert scores.tolist() == [1.0, 0.0, 1.0, 0.0]
        assert service._pool._workers == []


@pytest.mark.parametrize(
    ("completion", "gold", "score"),
    [
        (r"Thus \boxed{\frac{1}{2}}.", "0.5", 1.0),
        (r"\boxed{0.25}", r"\frac14", 1.0),
        (r"\boxed{2\sqrt{2}}", r"\sqrt{8}", 1.0),
        (r"\boxed{(1, 2)}", "(1,2)", 1.0),
        (r"\boxed{x^2+2x+1}", "(x+1)^2", 1.0),
        (r"\boxed{3}", "4", 0.0),
        (r"\boxed{4} then \boxed{3}", "4", 0.0),
        ("The answer is $7$", "7", 1.0),
        ("nothing here", "7", 0.0),
        ("", "7", 0.0),
        (r"\boxed{}", "7", 0.0),
        (r"\boxed{}", "", 0.0),
        (r"\boxed{ }", "0", 0.0),
    ],
)
def test_math_verify(math: RewardService, completion: str, gold: str, score: float) -> None:
    """Mathematically equal answers score 1, others 0."""
    assert math.score([(completion, gold, {})]).tolist() == [score]


def test_a_literal_match_is_never_parsed(math: RewardService) -> None:
    """A gold answer that no parser reads still scores 1 when it is given word for word."""
    gold = r"\text{the } \mathfrak{gibberish @@ 100%}"
    assert math.score([(rf"\boxed{{{gold}}}", gold, {})]).tolist() == [1.0]


def test_order_and_repeats(math: RewardService) -> None:
    """Scores come back in the order of the answers; a repeated answer is asked once."""
    items = [(rf"\boxed{{{i % 7}+1}}", "4", {}) for i in range(40)]
    assert math.score(items).tolist() == [float(i % 7 == 3) for i in range(40)]


HOSTILE = {
    "deep braces": r"\boxed{" + "{" * 900 + "1" + "}" * 900 + "}",
    "deep fractions": r"\boxed{" + r"\frac{1}{" * 150 + "2" + "}" * 150 + "}",
    "deep roots": r"\boxed{" + r"\sqrt{" * 200 + "2" + "}" * 200 + "}",
    "deep parentheses": r"\boxed{" + "(" * 500 + "1" + ")" * 500 + "}",
    "unbalanced": "$" + "(" * 500,
    "tower": r"\boxed{9^{9^{9^{9}}}}",
    "tower, plain": "the answer is 9**9**9**9",
    "factorials": r"\boxed{999999999!!!!}",
    "binomial": r"\boxed{\binom{10^{9}}{5\cdot10^{8}}}",
    "huge number": r"\boxed{10^{999999999}}",
    "digits": r"\boxed{" + "9" * 1_900 + "}",
    "percent": r"\boxed{" + "%" * 1_900 + "}",
    "regex bomb": "$" + "a" * 40 + "!" + r"\text{" * 30 + "  " * 200,
    "spaces": r"\boxed{" + " " * 1_000 + "1" + " " * 900 + ",}",
    "commas": r"\boxed{" + "1," * 900 + "1}",
    "dollars": "$" * 1_000,
    "megabyte": "1" * 1_000_000,
    "megabyte of boxes": r"\boxed{1}" * 110_000 + "x",
    "megabyte in a box": r"\boxed{" + "1+" * 500_000 + "1}",
    "control characters": r"\boxed{" + "".join(map(chr, range(32))) + "}",
    "surrogates": "\\boxed{\ud800\udfff\udc00}",
    "right-to-left": "\\boxed{\u202e1\u202c}",
    "null": "\\boxed{1\x001}",
    "matrix": r"\boxed{\begin{pmatrix}" + r"1&" * 400 + r"\end{pmatrix}}",
    "sum of reciprocals": r"\boxed{" + "+".join(rf"\frac{{1}}{{{9_999 - i}!}}" for i in range(100)) + "}",
    "powers of powers": r"\boxed{((2^{65535})^{65535})^{65535}}",
    "many items": r"\boxed{" + ",".join(rf"\sqrt{{{i}}}" for i in range(2, 180)) + "}",
    "integral": r"\boxed{\int_0^\infty e^{-x^{x^{x}}} \sin(x^{100})\,dx}",
    "sum": r"\boxed{\sum_{n=1}^{10^{12}} \frac{1}{n^{n}}}",
    "interval": r"\boxed{(-\infty, 10^{10^{10}}]\cup" * 20 + "}",
}


def processor_seconds_of_ended_workers() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.slow
def test_hostile_answers_score_zero_within_their_limit() -> None:
    """None raises, hangs, takes the service down or costs more processor time than its limit and a replacement; all score 0."""
    limit, start = 0.5, 4.0
    before = processor_seconds_of_ended_workers()
    with RewardService(RewardSpec("math-verify", seconds=limit), workers=1) as service:
        service.start()
        for name, text in HOSTILE.items():
            assert service.score([(text, "123457", {})]).tolist() == [0.0], name
        assert service.score([(r"\boxed{1+1}", "2", {})]).tolist() == [1.0]
        dear = service.timeouts + service.crashes
        assert 1 <= dear <= 5  # what math-verify computes is stopped, the rest is cheap
    assert processor_seconds_of_ended_workers() - before < len(HOSTILE) * 0.2 + dear * (limit + start) + start


@pytest.mark.slow
def test_hostile_gold_answers_cost_no_more(math: RewardService) -> None:
    """The same texts as gold answers are no way round the limit."""
    scores = math.score([(r"\boxed{1}", HOSTILE[name], {}) for name in ("tower", "deep fractions", "integral", "megabyte", "sum")])
    assert scores.tolist() == [0.0] * 5
    assert math.timeouts + math.crashes >= 1


@pytest.mark.slow
def test_reasoning_gym_needs_a_full_score() -> None:
    """spell_backward gives 2/3 for two right letters of three; that is a wrong answer here."""
    with RewardService(RewardSpec("reasoning-gym:spell_backward"), workers=1) as service:
        items = [("tac", "tac", {}), ("tab", "tac", {}), ("TAC", "tac", {}), ("<answer>tac</answer>", "tac", {}), ("\x00", "tac", {})]
        assert service.score(items).tolist() == [1.0, 0.0, 1.0, 1.0, 0.0]


@pytest.mark.slow
def test_a_scorer_that_raises_on_its_metadata_gives_zero() -> None:
    """countdown needs its numbers: without them its scorer raises, which is a wrong answer, not a crash."""
    with RewardService(RewardSpec("reasoning-gym:countdown"), workers=1) as service:
        good = {"numbers": [2, 3], "target": 5, "expression": "2 + 3"}
        assert service.score([("3 + 2", "2 + 3", good), ("3 + 2", "2 + 3", {}), ("2 * 3", "2 + 3", good)]).tolist() == [1.0, 0.0, 0.0]


def test_user_function_gets_everything_and_may_print() -> None:
    """Completion, answer and metadata arrive unchanged (lone surrogates too); printing does not garble replies."""
    with user("length_bonus") as service:
        scores = service.score([("abc", "abc", {}), ("ab\ud800", "abc", {"bonus": 0.5}), ("\n" * 200_000, "abc", {})])
        np.testing.assert_allclose(scores, [1.0, 0.53, 0.0], atol=1e-12)


def test_user_function_that_raises_ends_the_run() -> None:
    """One sentence names the function, the exception and the answer; the service can be used again."""
    with user("raises") as service:
        with pytest.raises(RunFailed, match=r"user_rewards:raises raised KeyError: 'no such thing' on the answer 'bad'") as caught:
            service.score([("fine", "a", {}), ("bad", "a", {})])
        assert caught.value.kind == "reward-raised"
        assert "\n" not in str(caught.value)
        assert service.score([("fine", "a", {})]).tolist() == [0.5]


def test_a_long_answer_is_shortened_in_the_message() -> None:
    """The message stays one readable line."""
    with user("raises_always") as service, pytest.raises(RunFailed, match="raised ValueError: no on the answer 'yyy") as caught:
        service.score([("y" * 10_000, "a", {})])
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("completion", "shown"), [("1.5", "1.5"), ("-0.1", "-0.1"), ("nan", "nan"), ("inf", "inf"), ("None", "None"), ("[1]", r"\[1\]")]
)
def test_what_is_no_score_is_refused(completion: str, shown: str) -> None:
    """A number outside [0, 1], or no number at all, ends the run with the reward's name, the value and the answer; 0 and 1 pass."""
    with user("echoes") as service:
        assert service.score([("0", "a", {}), ("1", "a", {}), ("True", "a", {})]).tolist() == [0.0, 1.0, 1.0]
        with pytest.raises(RunFailed, match=f"user_rewards:echoes returned {shown} for the answer .*from 0 to 1") as caught:
            service.score([("0.5", "a", {}), (completion, "a", {})])
        assert caught.value.kind == "reward-range"
        assert "\n" not in str(caught.value)
        assert service.score([("0.5", "a", {})]).tolist() == [0.5]


def test_failures_are_taken_once() -> None:
    """``take_failures`` gives what came since the last call; the totals stay."""
    with user("dies") as service:
        service.score([("die", "a", {}), ("ok", "a", {})])
        assert service.take_failures() == (0, 1)
        assert service.take_failures() == (0, 0)
        service.score([("die", "a", {}), ("die", "b", {})])
        assert service.take_failures() == (0, 2)
        assert (service.timeouts, service.crashes) == (0, 3)


@pytest.mark.parametrize("name", ["hangs_on_h", "swallows_everything", "hangs_outside_python"])
def test_a_hanging_answer_scores_zero_and_is_counted(name: str) -> None:
    """However it hangs, it costs its limit; the answers around it keep their scores."""
    with user(name, seconds=0.5) as service:
        service.start()
        items = [("h" if i == 3 else "ok", "a", {}) for i in range(20)]
        assert service.score(items).tolist() == [float(i != 3) for i in range(20)]
        assert service.timeouts == 1


def test_a_function_that_hangs_often_ends_the_run_early() -> None:
    """Three hanging answers of twenty are more than 10 %: the call stops there and does not wait for the others."""
    with user("hangs_on_h", seconds=0.4) as service:
        service.start()
        with pytest.raises(RunFailed, match=r"within 0\.4 seconds for 3 of 20 answers") as caught:
            service.score([("h" if i < 12 else "ok", "a", {}) for i in range(20)])
        assert caught.value.kind == "reward-hangs"
        assert service.timeouts == 3


def test_two_hanging_answers_never_end_a_run() -> None:
    """The bound is 10 % and at least three."""
    with user("hangs_on_h", seconds=0.4) as service:
        assert service.score([("h", "a", {}), ("h2", "a", {}), ("ok", "a", {})]).tolist() == [0.0, 0.0, 1.0]


def test_a_dead_worker_is_replaced() -> None:
    """A function that kills its process costs that answer only."""
    with user("dies") as service:
        assert service.score([("ok", "a", {}), ("die", "a", {}), ("ok", "a", {})]).tolist() == [1.0, 0.0, 1.0]
        assert service.crashes == 1
        assert service.score([("ok", "a", {})]).tolist() == [1.0]


@pytest.mark.fault("SIGKILL of a reward worker", "replaced; every answer is scored")
def test_a_worker_killed_between_two_calls_is_replaced() -> None:
    """As the kernel does when memory runs out."""
    with user("process_id", workers=1) as service:
        (before,) = service.score([("x", "a", {})])
        os.kill(round(before * PIDS), 9)
        time.sleep(0.1)
        (after,) = service.score([("x", "a", {})])
        assert after not in (0.0, before)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module_at_all:f", "no module named 'no_such_module_at_all'"),
        ("user_rewards:no_such_function", "no_such_function"),
        ("user_rewards:NOT_CALLABLE", "must be a function"),
        ("reasoning-gym:no_such_family", "no family 'no_such_family'"),
    ],
)
def test_a_reward_that_does_not_exist_is_one_sentence(name: str, message: str) -> None:
    """Also for a first call without start()."""
    with RewardService(RewardSpec(name), workers=1) as service:
        with pytest.raises(RewardError, match=message):
            service.start()
        with pytest.raises(RewardError, match=message):
            service.score([("x", "y", {})])


@pytest.mark.parametrize(("name", "seconds"), [("exactly", 1.0), ("module:", 1.0), (":f", 1.0), ("exact", 0.0)])
def test_a_spec_that_means_nothing_is_refused(name: str, seconds: float) -> None:
    """Before anything is started."""
    with pytest.raises(RewardError):
        RewardSpec(name, seconds)


def test_close_ends_every_worker() -> None:
    """And scoring after it starts new ones."""
    with user("process_id") as service:
        pids = {round(p * PIDS) for p in service.score([("x", "a", {})] * 50)}
        service.close()
        assert not any(_alive(p) for p in pids)
        assert round(service.score([("x", "a", {})])[0] * PIDS) not in pids


@pytest.mark.parametrize("busy", [False, True])
def test_workers_die_with_their_parent(busy: bool) -> None:
    """A parent that is killed leaves no worker behind, not even one that is stuck outside Python."""
    call = "service._pool._workers[0].give(0, ('9**9**9**9', '1', {}))" if busy else "pass"
    script = f"""
        import os, time
        from harness.reward.service import RewardService
        from harness.reward.spec import RewardSpec
        service = RewardService(RewardSpec("math-verify", 1.0), workers=1)
        service.start()
        {call}
        print(service._pool._workers[0].process.pid, flush=True)
        time.sleep(60)
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True, env=environment)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert _alive(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.slow
def test_a_right_answer_on_a_busy_machine_is_right() -> None:
    """The limit is processor time: a worker that is stopped for longer than its limit still gives the score."""
    with RewardService(RewardSpec("math-verify", seconds=0.6), workers=1) as service:
        service.start()
        service.score([(r"\boxed{\frac{2}{4}}", r"\frac{1}{2}", {})])  # what is imported late is imported now
        (worker,) = service._pool._workers
        os.kill(worker.process.pid, signal.SIGSTOP)
        timer = threading.Timer(1.5, os.kill, (worker.process.pid, signal.SIGCONT))
        timer.start()
        assert service.score([(r"\boxed{\frac{3}{9}}", r"\frac{1}{3}", {})]).tolist() == [1.0]
        timer.join()
        assert service.timeouts == 0
