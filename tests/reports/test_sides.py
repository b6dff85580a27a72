"""Two sides of one experiment, worked out by hand, and backends beside each other on one page."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from harness.errors import UserError
from reports.analysis import analyse
from reports.condensed import Run, condense
from reports.page.sides import MIXED, cost_table, sides_section
from reports.sides import backend_groups, compare_sides, replicates
from tests.reports.ledgers import ENVIRONMENT, read, write_run
from tests.reports.pages import build_report
from tests.reports.test_build import text_of

TARGET = {"share_of_gain": 0.9, "crossing": "sustained"}

#: Start .1, gain .4, so the target is .46; reached at step 16, and at step 8.
SLOW = [0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5]
FAST = [0.1, 0.3, 0.5, 0.5, 0.5, 0.5, 0.5]


def side(folder: Path, *, seeds: tuple[int, ...] = (1, 2, 3), rr: list[float] = SLOW, **more: object) -> list[Run]:
    """grpo and rr, three seeds, .5 s a step."""
    paths = [
        write_run(folder, label, s, steps=24, accuracies=accuracies, **more)  # type: ignore[arg-type]
        for label, accuracies in (("grpo", SLOW), ("rr", rr))
        for s in seeds
    ]
    return [condense(log) for log in read(paths)]


def test_two_versions_by_hand(tmp_path: Path) -> None:
    """rr reaches .46 at step 16 in the old version, at step 8 in the new one: 2×; grpo is equal: 1×; final accuracies are equal."""
    found = compare_sides(("old", side(tmp_path / "a")), ("new", side(tmp_path / "b", rr=FAST)), baseline="grpo", target=TARGET)
    by_arm = {c.name: c.arms[1] for c in found.analysis.combinations}
    assert sorted(by_arm) == ["spell-backward · grpo", "spell-backward · rr"]
    assert by_arm["spell-backward · rr"].speed_ups["training_seconds"].estimate == pytest.approx(2.0)
    assert by_arm["spell-backward · rr"].speed_ups["generated_tokens"].verdict == "undecided (n = 3, 5 needed)"
    assert by_arm["spell-backward · grpo"].speed_ups["training_seconds"].verdict == "undecided (n = 3, 5 needed)"
    n, difference = found.differences["spell-backward · rr"]
    assert (n, difference.value, difference.low) == (3, 0.0, 0.0)
    assert (found.alone, found.differs) == ([], [])


def test_the_target_is_the_first_sides(tmp_path: Path) -> None:
    """The second side's baseline ends at .3; the target stays .46, from the first, and the second misses it."""
    low = [condense(log) for log in read([write_run(tmp_path / "b", "grpo", s, steps=24, accuracies=[0.1] + [0.3] * 6) for s in (1, 2, 3)])]
    found = compare_sides(("a", side(tmp_path / "a")), ("b", low), baseline="grpo", target=TARGET)
    [combination] = found.analysis.combinations
    assert combination.target.accuracy == pytest.approx(0.46)
    assert [a.reached for a in combination.arms] == [3, 0]
    assert found.alone == ["only a has spell-backward · rr"]
    assert found.differences["spell-backward · grpo"][1].value == pytest.approx(-0.2)


def test_seconds_of_two_machines_are_refused_unless_told(tmp_path: Path) -> None:
    """Tokens decide then; with ``mix_machines`` seconds are compared all the same. The table says which."""
    other = {**ENVIRONMENT, "fingerprint": "other", "cpu": "Other CPU"}
    sides = (("a", side(tmp_path / "a")), ("b", side(tmp_path / "b", pace=0.25, environment=other)))
    refused = compare_sides(*sides, baseline="grpo", target=TARGET)
    arm = refused.analysis.combinations[0].arms[1]
    assert "training_seconds" not in arm.speed_ups
    assert arm.speed_ups["generated_tokens"].estimate == 1.0
    assert cost_table(refused).rows[0][5].text == "refused: other machine"
    assert ("environment.cpu", "Example CPU 3.0 GHz", "Other CPU") in refused.differs
    assert not refused.mixed
    told = compare_sides(*sides, baseline="grpo", target=TARGET, mix_machines=True)
    assert told.mixed
    assert MIXED in sides_section(told).notes
    assert not compare_sides(sides[0], ("c", sides[0][1]), baseline="grpo", target=TARGET, mix_machines=True).mixed
    assert told.analysis.combinations[0].arms[1].speed_ups["training_seconds"].estimate == pytest.approx(2.0)


def test_the_same_seed_twice_shows_noise_without_seeds(tmp_path: Path) -> None:
    """Final accuracies differ by .02, -.02 and .04: √(.0024/3/2) = .02 for one run; log times by .1, -.1 and 0: .1/√2 = 7.1 %; tokens by
    nothing. Where a setting differs it is no replicate."""
    moved = {1: (0.52, 0.1), 2: (0.48, -0.1), 3: (0.54, 0.0)}
    again = [
        write_run(tmp_path / "b", "grpo", s, steps=24, accuracies=[*SLOW[:-1], last], pace=0.5 * math.exp(slower))
        for s, (last, slower) in moved.items()
    ]
    once = [run for run in side(tmp_path / "a") if run.strategy == "grpo"]
    found = compare_sides(("one", once), ("two", [condense(log) for log in read(again)]), baseline="grpo", target=TARGET)
    [noise] = replicates(found).values()
    assert (noise.pairs, noise.accuracy) == (3, pytest.approx(0.02))
    assert noise.costs == {"training_seconds": pytest.approx(0.1 / math.sqrt(2)), "generated_tokens": 0.0}
    assert (
        "Noise of spell-backward · grpo: the same seed twice (3 pairs): one run scatters by 2.00 points of final accuracy, 7.1 % of "
        "training time, 0.0 % of generated tokens (standard deviation) without any effect of the seed."
    ) in sides_section(found).notes
    found.differs.append(("algorithm.learning_rate", "1", "2"))
    assert replicates(found) == {}


def test_combinations_match_by_model_and_task_where_names_differ(tmp_path: Path) -> None:
    """TRL against verl: the combinations are called differently, model and task are the same; backend and settings are named."""
    trl = side(tmp_path / "a", combination="words-trl", task="words")
    verl = side(tmp_path / "b", combination="words-verl", task="words", backend="verl", algorithm={"learning_rate": 2e-3})
    found = compare_sides(("trl", trl), ("verl", verl), baseline="grpo", target=TARGET)
    assert [c.name for c in found.analysis.combinations] == ["words-trl · grpo", "words-trl · rr"]
    assert ("combination.backend", "trl", "verl") in found.differs
    assert ("rr: algorithm.learning_rate", "0.001", "0.002") in found.differs


def test_no_common_seed_is_said_and_nothing_is_claimed(tmp_path: Path) -> None:
    """Seeds 1-3 against 4-6: no pair, no speed-up, words instead."""
    found = compare_sides(("a", side(tmp_path / "a")), ("b", side(tmp_path / "b", seeds=(4, 5, 6))), baseline="grpo", target=TARGET)
    assert [row[2].text for row in cost_table(found).rows] == ["no seed in common"] * 2
    assert found.differences["spell-backward · rr"][0] == 0


def test_what_cannot_be_compared_is_refused_in_words(tmp_path: Path) -> None:
    """No such baseline, nothing in common, an empty side."""
    runs = side(tmp_path / "a")
    with pytest.raises(UserError, match="has no run of the baseline 'grop'; did you mean 'grpo'"):
        compare_sides(("a", runs), ("b", runs), baseline="grop", target=TARGET)
    with pytest.raises(UserError, match="no arm in common"):
        compare_sides(("a", runs[:3]), ("b", runs[3:]), baseline="grpo", target=TARGET)
    with pytest.raises(UserError, match="'b' has no run with a result"):
        compare_sides(("a", runs), ("b", []), baseline="grpo", target=TARGET)


@pytest.mark.slow
def test_backends_of_one_suite_stand_side_by_side(tmp_path: Path) -> None:
    """Combinations that differ only in the backend: panels with one accuracy axis, both compared, what differs; others are left alone."""
    paths = []
    for backend, accuracies in (("trl", SLOW), ("verl", FAST)):
        for s in (1, 2, 3):
            for label in ("grpo", "rr"):
                paths.append(write_run(tmp_path, label, s, combination=f"words-{backend}", task="words", backend=backend, steps=24, accuracies=accuracies))  # fmt: skip  # noqa: E501
    paths += [write_run(tmp_path, "grpo", s, combination="sums", steps=24, accuracies=SLOW) for s in (1, 2)]
    analysis = analyse(map(condense, read(paths)), baseline="grpo", target=TARGET)
    assert [[c.name for c in group] for group in backend_groups(analysis)] == [["words-trl", "words-verl"]]
    page = build_report(read(paths), tmp_path / "out", title="T", baseline="grpo", target=TARGET)
    html = page.read_text(encoding="utf-8")
    text = text_of(html)
    assert "The same on trl and verl: words-trl, words-verl" in text
    assert "2.00× [2.00, 2.00]" in text
    assert "combination.backend trl verl" in text
    assert "What differs between trl and verl by construction" in text
    assert "standard deviation of advantages + 10⁻⁴ + 10⁻⁶" in text
    assert html.count('<figure class="broad">') == 2
