"""Outside curves: the paper's own numbers from the paper's own curves, and every way a CSV file can be wrong."""

from __future__ import annotations

import csv
import tomllib
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.stats import target_from_text
from reports.outside_curves import read_curves
from reports.page.outside_curves import build_curves_report
from reports.page.published import published
from tests.edits import edited
from tests.reports.ledgers import read, write_run
from tests.reports.pages import build_report
from tests.reports.test_build import text_of

PAPER = Path(__file__).resolve().parents[2] / "../shared/data/paper_curves.csv"
needs_paper = pytest.mark.skipif(not PAPER.exists(), reason="../shared/data/paper_curves.csv is not here")

SAVED = {
    "Qwen2.5-Math-1.5B+MATH": 32.1,
    "Qwen2.5-Math-1.5B+DeepScaleR": 46.9,
    "Qwen2.5-Math-1.5B+ORZ": 29.2,
    "Qwen2.5-3B+DeepScaleR": 35.1,
    "Qwen2.5-3B+DeepMath": 64.6,
    "Qwen2.5-Math-7B+DeepScaleR": 24.9,
}

SMALL = """combination,method,hours,avg_accuracy
c,GRPO,1,10
c,GRPO,2,20
c,GRPO,3,30
c,GRPO,4,40
c,Mine,1,20
c,Mine,2,41
c,Mine,3,42
"""


def results(folder: Path) -> dict[tuple[str, str], dict[str, str]]:
    """results.csv by combination and strategy."""
    with open(folder / "results.csv", encoding="utf-8", newline="") as file:
        return {(r["combination"], r["strategy"]): r for r in csv.DictReader(file)}


@pytest.mark.slow
@needs_paper
def test_the_papers_figures_follow_from_its_curves(tmp_path: Path) -> None:
    """First crossing of GRPO's final accuracy: 32.1, 46.9, 29.2, 35.1, 64.6, 24.9 % saved, to ±0.2."""
    build_curves_report(PAPER, tmp_path, "first", "final")
    found = results(tmp_path)
    assert {c for c, _ in found} == set(SAVED)
    for combination, saved in SAVED.items():
        row = found[combination, "DOTS+RR"]
        assert float(row["time_saved_percent"]) == pytest.approx(saved, abs=0.2), combination
        assert row["verdict"] == "undecided (n = 1, 5 needed)"
        assert (row["low"], row["crossing"], row["reach_rate"]) == ("", "first", "1")


@needs_paper
def test_the_stricter_rules_stand_beside_it(tmp_path: Path) -> None:
    """The page shows the other rules, plateau warnings where they are due, and the published figures of both versions."""
    text = text_of(build_curves_report(PAPER, tmp_path, "first", "final").read_text(encoding="utf-8"))
    for words in (
        "90 % of gain, sustained",
        "final, sustained",
        "published v3",
        "48.0 %",
        "⚠",
        "Plateau warning",
        "Plateau: the baseline is nearly flat at the target on Qwen2.5-3B+DeepMath",
    ):
        assert words in text, words
    assert "n = 1 gives no interval, so nothing can be claimed" in text


def test_published_figures_stand_beside_the_paper_suites_own_names() -> None:
    """Every combination of suites/paper.toml has its published row, in both variants, and the six rows are six different ones."""
    suite = tomllib.loads((Path(__file__).resolve().parents[2] / "suites" / "paper.toml").read_text(encoding="utf-8"))
    code = {name: name.endswith("-code") for name in (c["name"] for c in suite["combinations"])}
    found = {name: published(name, "dots-rr-code" if is_code else "dots-rr") for name, is_code in code.items()}
    assert {"dots-rr", "dots-rr-code"} <= {s.get("label", s["name"]) for s in suite["strategies"]}
    assert all(found.values()), found
    assert sorted(row.time_saved_v1 for row in found.values() if row is not None) == sorted([*SAVED.values(), *SAVED.values()])


def test_published_column_on_the_page_of_own_runs(tmp_path: Path) -> None:
    """Runs of a combination of the paper: own saving, then v3 and v1 as printed, and the predictor's correlation."""
    paths = [
        write_run(tmp_path, label, s, combination="qwen2.5-math-1.5b-math", pace=pace, steps=24)
        for label, pace in (("grpo", 0.5), ("dots-rr", 0.25))
        for s in (1, 2, 3)
    ]
    page = build_report(read(paths), tmp_path / "out", title="t", baseline="grpo", target={"share_of_gain": 0.9})
    text = text_of(page.read_text(encoding="utf-8"))
    assert "Beside the published results" in text
    assert "qwen2.5-math-1.5b-math dots-rr 50.0 % 26.2 % 32.1 %" in text


def test_published_figures_ship_for_every_combination() -> None:
    """Both versions; v1 is what the curves give."""
    for combination, saved in SAVED.items():
        row = published(combination.lower().replace("+", " / "), "dots-rr")
        assert row is not None
        assert row.time_saved_v1 == saved
    assert published("spell-backward", "dots-rr") is None
    assert published("Qwen2.5-Math-1.5B+MATH", "rr") is None


def test_small_curves_by_hand(tmp_path: Path) -> None:
    """GRPO ends at 40 % after 4 h; Mine is at 41 % after 2 h: 50 % saved. Accuracies above 1 are per cent."""
    (tmp_path / "c.csv").write_text(SMALL)
    build_curves_report(tmp_path / "c.csv", tmp_path / "out", "first", "final")
    row = results(tmp_path / "out")["c", "Mine"]
    assert (float(row["target"]), float(row["speedup"]), float(row["time_saved_percent"])) == (0.4, 2.0, 50.0)
    assert row["median_training_seconds"] == "7200"


def test_sustained_final_leaves_the_baseline_unconfirmed(tmp_path: Path) -> None:
    """GRPO's last evaluation has none after it: the saving is a bound, and the table says ≥."""
    (tmp_path / "c.csv").write_text(SMALL)
    page = build_curves_report(tmp_path / "c.csv", tmp_path / "out", "sustained", {"final": True})
    row = results(tmp_path / "out")["c", "Mine"]
    assert (row["speedup"], float(row["at_least"]), row["at_most"]) == ("", 2.0, "inf")
    assert "≥ 50.0 %" in text_of(page.read_text(encoding="utf-8"))


def test_rows_in_any_order_and_several_seeds(tmp_path: Path) -> None:
    """A seed column makes pairs; rows are sorted by hours."""
    lines = SMALL.splitlines()
    seeds = [f"{line},{s}" for s in (1, 2, 3) for line in reversed(lines[1:])]
    (tmp_path / "c.csv").write_text("\n".join([lines[0] + ",seed", *seeds]))
    build_curves_report(tmp_path / "c.csv", tmp_path / "out", "first", "final")
    row = results(tmp_path / "out")["c", "Mine"]
    assert (row["n"], row["speedup"], row["verdict"]) == ("3", "2", "undecided (n = 3, 5 needed)")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("combination,method,hour,avg_accuracy\n", "no column 'hours'; did you mean 'hour'"),
        ("combination,method,hours,avg_accuracy\n", "no row under the header"),
        ("", "no column 'combination'"),
        (SMALL + "c,Mine,four,50\n", "line 9: hours is 'four'"),
        (SMALL + "c,Mine,4,nan\n", "line 9: avg_accuracy is 'nan'"),
        (SMALL + "c,Mine,4\n", "line 9: avg_accuracy is None"),
        (edited(SMALL, {"GRPO": "gpro"}, "every"), "the baseline 'GRPO' has no curve .methods: gpro, Mine"),
        (SMALL.replace(",", ";"), "line 1: the columns are separated by semicolons"),
        (SMALL + "c,Mine,4,41,5\n", "line 9: more values than the header has columns; is there a decimal comma"),
        (SMALL + 'c,Mine,"4,5",41\n', "line 9: hours is '4,5' with a decimal comma"),
        (SMALL + "c,Mine,2,40\n", "line 9: a second evaluation of Mine on c, seed 1 at the cost of line 7"),
    ],
)
def test_bad_files_are_refused_in_words(tmp_path: Path, text: str, words: str) -> None:
    """File, line, what is wrong."""
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        build_curves_report(tmp_path / "c.csv", tmp_path / "out", "first", "final")
    assert not (tmp_path / "out").exists()


def test_unreadable_files_are_refused_in_words(tmp_path: Path) -> None:
    """Missing, and not text at all."""
    with pytest.raises(UserError, match="No such file"):
        read_curves(tmp_path / "none.csv")
    (tmp_path / "c.csv").write_bytes(b"\xff\xfe\x00\x01" * 50)
    with pytest.raises(UserError, match="not a CSV file"):
        read_curves(tmp_path / "c.csv")


def test_targets_as_a_command_line_gives_them() -> None:
    """Three forms, and a suggestion for a fourth."""
    assert target_from_text("final") == {"final": True}
    assert target_from_text("share_of_gain=0.75") == {"share_of_gain": 0.75}
    assert target_from_text("accuracy = 0.4") == {"accuracy": 0.4}
    for text, words in (
        ("finale", "did you mean 'final'"),
        ("accuracy=high", "not a number"),
        ("share_of_gain=2", "at most 1"),
    ):
        with pytest.raises(UserError, match=words):
            target_from_text(text)


def test_any_baseline_in_any_case(tmp_path: Path) -> None:
    """Mine as the baseline, asked for in capitals: GRPO never reaches its 42 %, and misses."""
    (tmp_path / "c.csv").write_text(SMALL)
    build_curves_report(tmp_path / "c.csv", tmp_path / "out", "first", "final", baseline="MINE")
    found = results(tmp_path / "out")
    assert float(found["c", "GRPO"]["target"]) == pytest.approx(0.42)
    assert found["c", "GRPO"]["reached"] == "0"


@pytest.mark.parametrize(("column", "ledger"), [("tokens", "generated_tokens"), ("steps", "training_steps")])
def test_curves_over_tokens_or_steps(tmp_path: Path, column: str, ledger: str) -> None:
    """The same curves over another cost: 4 against 2 of it, and the page names it."""
    (tmp_path / "c.csv").write_text(SMALL.replace("hours", column))
    page = build_curves_report(tmp_path / "c.csv", tmp_path / "out", "first", "final")
    row = results(tmp_path / "out")["c", "Mine"]
    assert (row["compared_on"], float(row["speedup"]), row["reached"], row[f"median_{ledger}"]) == (ledger, 2.0, "1", "2")
    assert f"speed-up in {'tokens' if column == 'tokens' else 'training steps'}" in text_of(page.read_text(encoding="utf-8"))


def test_one_of_several_costs_can_be_chosen(tmp_path: Path) -> None:
    """Half the hours but all the steps: 2× in hours, 1× in steps."""
    lines = SMALL.splitlines()
    doubled = [lines[0] + ",steps", *(f"{line},{(1 if 'GRPO' in line else 2) * int(line.split(',')[2])}" for line in lines[1:])]
    (tmp_path / "c.csv").write_text("\n".join(doubled))
    for cost, speed_up in (("hours", 2.0), ("steps", 1.0)):
        build_curves_report(tmp_path / "c.csv", tmp_path / cost, "first", "final", cost=cost)
        assert float(results(tmp_path / cost)["c", "Mine"]["speedup"]) == speed_up
    with pytest.raises(UserError, match="no column 'houres' of a cost; did you mean 'hours'"):
        build_curves_report(tmp_path / "c.csv", tmp_path / "x", "first", "final", cost="houres")


@pytest.mark.slow
def test_our_own_curves_file_is_read_back(tmp_path: Path) -> None:
    """curves.csv of a report has the columns, with every cost ledger; the speed-ups are those of the report."""
    paths = [write_run(tmp_path, label, s, steps=24, pace=p) for label, p in (("grpo", 0.5), ("rr", 0.4)) for s in (1, 2, 3)]
    build_report(read(paths), tmp_path / "own", title="t", baseline="grpo", target={"share_of_gain": 0.9})
    build_curves_report(tmp_path / "own" / "curves.csv", tmp_path / "again")
    own, again = (results(tmp_path / name)["spell-backward", "rr"] for name in ("own", "again"))
    for column in ("speedup_training_seconds", "speedup_generated_tokens", "speedup_price_5", "target", "n"):
        assert float(again[column]) == pytest.approx(float(own[column]))
