"""Draw docs/images/architecture.svg: who may import whom (read from pyproject.toml), a question's way, a killed run's way.

python docs/images/architecture.py
"""

from __future__ import annotations

import tomllib
from html import escape
from pathlib import Path

HERE = Path(__file__).resolve().parent
PYPROJECT = HERE.parents[1] / "pyproject.toml"
PICTURE = HERE / "architecture.svg"
WIDTH, HEIGHT, TOP, BOX = 1200, 640, 84, 38

#: What happens to a question id in one training step: what, and where.
STEPS = (
    ("draw stored groups (replay)", "harness/step/driver.py"),
    ("select question ids", "harness/strategies/"),
    ("roll out: completions, log-probs", "backends/{trl,verl}/rollout_engine.py"),
    ("score: a prompt group with rewards", "backends/common/scoring_engine.py"),
    ("admit, or refuse and refill", "harness/step/driver.py"),
    ("compose the batch; observe", "harness/step/driver.py"),
    ("train; correct replayed groups", "backends/{trl,verl}/trainer.py"),
    ("close the step: costs, StepRecord", "harness/step/driver.py"),
    ("append to the ledger", "harness/records/ledger.py"),
)
REFILL_FROM, REFILL_TO = 4, 1

#: What happens to a run whose worker is killed.
KILLED = (
    ("worker killed: its lock is released", "harness/records/file_locks.py"),
    ("state derived: interrupted", "harness/records/run_folder.py"),
    ("runner sees how it ended", "harness/runner/jobs.py"),
    ("attempts left: a new worker starts", "harness/runner/suite_runner.py"),
    ("torn last line is cut", "harness/records/ledger.py"),
    ("newest complete checkpoint is loaded", "harness/records/checkpoint.py"),
    ("later steps are taken back: lost seconds", "harness/records/ledger.py"),
)
NOTES = (
    "Killed twice at the same step: failed.",
    "No attempts left: stays interrupted.",
    "Command killed: its workers end with it;",
    "the same command resumes every run.",
)


def layers() -> list[list[str]]:
    """The import layers from the top, each as its independent packages."""
    contracts = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    (contract,) = (c for c in contracts if c["type"] == "layers")
    return [[name.strip().removeprefix("harness.") for name in layer.split("|")] for layer in contract["layers"]]


def box(x: float, y: float, width: float, kind: str, *lines: tuple[str, str]) -> str:
    """A box with lines of (class, text), centred."""
    texts = [
        f'<text class="{name}" x="{x + width / 2:g}" y="{y + BOX / 2 + 4 + 14 * (i - (len(lines) - 1) / 2):g}">{escape(text)}</text>'
        for i, (name, text) in enumerate(lines)
    ]
    return f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{BOX}" rx="5"/>' + "".join(texts)


def chain(x: float, width: float, kind: str, steps: tuple[tuple[str, str], ...]) -> list[str]:
    """Boxes under one another, joined by arrows."""
    drawn = []
    for i, (what, where) in enumerate(steps):
        y = TOP + i * (BOX + 18)
        drawn.append(box(x, y, width, kind, ("what", what), ("where", where)))
        if i:
            drawn.append(f'<path class="arrow" d="M{x + width / 2:g} {y - 18:g} V{y - 2:g}"/>')
    return drawn


def heading(x: float, title: str, below: str) -> str:
    """The title of a column and a line below it."""
    return f'<text class="title" x="{x}" y="40">{escape(title)}</text><text class="below" x="{x}" y="62">{escape(below)}</text>'


def picture() -> str:
    """The whole picture as SVG text."""
    parts = [heading(20, "Who may import whom", "A package imports from rows below it, never from its own row.")]
    for row, names in enumerate(layers()):
        width = (430 - 6 * (len(names) - 1)) / len(names)
        for i, name in enumerate(names):
            kind = "outer" if name.partition(".")[0] in {"reports", "suites", "backends"} else "package"
            parts.append(box(20 + i * (width + 6), TOP + row * (BOX + 10), width, kind, ("name", name)))
    parts.append(
        f'<text class="below" x="20" y="{HEIGHT - 14}">Blue: packages and modules of harness. Orange: the other top-level packages.</text>'
    )
    left, wide = 506, 322
    parts += [
        heading(left, "A question id in one step", "All of it is on the clock, except the last line."),
        *chain(left, wide, "step", STEPS),
    ]
    low, high = (TOP + i * (BOX + 18) + BOX / 2 for i in (REFILL_FROM, REFILL_TO))
    parts.append(f'<path class="arrow" d="M{left} {low:g} H{left - 22} V{high:g} H{left - 2}"/>')
    left = 860
    parts += [heading(left, "A killed run", "Its state is derived from its ledger and its lock."), *chain(left, 320, "killed", KILLED)]
    y = TOP + len(KILLED) * (BOX + 18) + 10
    parts += [f'<text class="note" x="{left}" y="{y + 18 * i:g}">{escape(note)}</text>' for i, note in enumerate(NOTES)]
    return HEAD + "\n".join(parts) + "\n</svg>\n"


HEAD = f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img"
 aria-label="Import layers, the path of a question through one training step, and the path of a killed run">
<style>
 text {{ font-family: Inter, "DejaVu Sans", Helvetica, Arial, sans-serif; fill: #1d2433; }}
 .title {{ font-size: 17px; font-weight: 600; }} .below, .note {{ font-size: 12px; fill: #55607a; }}
 .name {{ font-size: 12px; text-anchor: middle; }} .what {{ font-size: 12.5px; text-anchor: middle; }}
 .where {{ font-size: 10.5px; text-anchor: middle; fill: #55607a; font-family: "DejaVu Sans Mono", Menlo, monospace; }}
 rect {{ stroke-width: 1; }} .package {{ fill: #eef2fb; stroke: #9db0d8; }} .outer {{ fill: #fdf3e1; stroke: #d9b36c; }}
 .step {{ fill: #eaf6ef; stroke: #8fc3a5; }} .killed {{ fill: #fbecec; stroke: #d79c9c; }}
 .arrow {{ fill: none; stroke: #55607a; stroke-width: 1.2; marker-end: url(#tip); }}
</style>
<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0 L8 4 L0 8 z" fill="#55607a"/></marker></defs>
<rect x="0" y="0" width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>
"""


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
