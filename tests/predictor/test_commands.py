"""``halfway predictor train | predict | evaluate`` from end to end on a small table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from harness.cli.predictor import app
from harness.errors import UserError


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """120 questions whose difficulty grows with the size of their numbers, four models of two families, a policy, a trajectory."""
    folder = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(0)
    size = rng.integers(1, 9, 120)
    texts = [f"Problem {i}: add {'7' * s} and {'5' * s}." for i, s in enumerate(size)]
    easiness = 3 - 0.7 * size + 0.3 * rng.standard_normal(120)
    policy = 1 / (1 + np.exp(-easiness))
    table = {
        f"pass_rate__{n}__k50": rng.binomial(50, 1 / (1 + np.exp(-(easiness + a)))) / 50
        for n, a in (("A", -1), ("A-Instruct", 1), ("B", 0), ("C", 0.5))
    }
    pd.DataFrame({"question": texts, "split": ["train"] * 80 + ["test"] * 40, **table}).to_parquet(folder / "table.parquet")
    pd.DataFrame({"question": texts}).to_csv(folder / "pool.csv", index=False)
    references = np.arange(0, 120, 3)
    observed = pd.DataFrame({"question": [texts[i] for i in references], "pass_rate": rng.binomial(8, policy[references]) / 8})
    observed.to_csv(folder / "references.csv", index=False)
    drifted = easiness + rng.standard_normal(120)  # what this policy alone finds hard
    trajectory = [list(rng.binomial(8, 1 / (1 + np.exp(-(drifted[i] + 0.3 * np.arange(4))))) / 8) for i in range(120)]
    pd.DataFrame({"problem": [t + " " for t in texts], "acc": trajectory}).to_parquet(folder / "trajectory.parquet")
    return {"folder": folder, "policy": policy, "queries": np.setdiff1d(np.arange(120), references)}


def run(*arguments: Any) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["irt", "ensemble"])
def test_train_then_predict(files: dict[str, Any], tmp_path: Path, kind: str) -> None:
    """A predictor trained on the table predicts a policy that is not in it: Pearson > .8 on the non-references."""
    if kind == "ensemble":
        pytest.importorskip("torch").set_num_threads(1)
    folder = files["folder"]
    said = run(
        "train", folder / "table.parquet", "-o", tmp_path / "p", "--predictor", kind, "--units", 16, "--epochs", 20, "--references", 32
    )
    assert "120 questions x 4 models" in said
    out = tmp_path / "out.csv"
    said = run("predict", tmp_path / "p", folder / "pool.csv", "--references", folder / "references.csv", "-o", out)
    assert "120 predictions from 40 references" in said
    predicted = pd.read_csv(out)["predicted_pass_rate"].to_numpy()[files["queries"]]
    assert np.corrcoef(predicted, files["policy"][files["queries"]])[0, 1] > 0.8
    said = run("evaluate", folder / "table.parquet", "-o", tmp_path / "e", "--artifact", tmp_path / "p", "--draws", 2, "--references", 30)
    assert "evaluation.png" in said


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["new-model", "new-questions"])
def test_evaluate(files: dict[str, Any], tmp_path: Path, setting: str) -> None:
    """The protocol writes its three files; new models are predicted at Pearson > .7."""
    said = run(
        "evaluate",
        files["folder"] / "table.parquet",
        "-o",
        tmp_path,
        "--setting",
        setting,
        "--predictor",
        "irt",
        "--draws",
        2,
        "--references",
        20,
    )
    assert "top-B near" in said
    records = pd.read_csv(tmp_path / "evaluation.csv")
    assert len(records) == 4 * 2
    assert records["pearson"].mean() > 0.7
    assert (tmp_path / "evaluation.png").stat().st_size > 1000


@pytest.mark.slow
def test_evaluate_along_a_trajectory(files: dict[str, Any], tmp_path: Path) -> None:
    """References re-measured per epoch; the history over a prior beats the prior once it has seen an epoch."""
    folder = files["folder"]
    run(
        "evaluate", folder / "table.parquet", "-o", tmp_path, "--setting", "trajectory", "--trajectory", folder / "trajectory.parquet",
        "--exclude-family", "A", "--predictor", "irt", "--predictor", "history", "--draws", 2, "--references", 20, "--every", 1,
    )  # fmt: skip
    by = pd.read_csv(tmp_path / "evaluation.csv").groupby(["predictor", "epoch"])["pearson"].mean()
    assert set(by.index.get_level_values(0)) == {"irt", "history", "history over irt"}
    assert by["history over irt", 3] > by["irt", 3]
    assert by["history over irt", 0] == pytest.approx(by["irt", 0], abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "{t}", "-o", "{o}", "--predictor", "atention"], "did you mean 'attention'"),
        (["train", "{t}", "-o", "{o}", "--embedder", "tfdif"], "did you mean 'tfidf'"),
        (["train", "{t}", "-o", "{o}", "--exclude-family", "Z"], "no column is of the family 'Z'"),
        (["train", "{f}/none.csv", "-o", "{o}"], "there is no file"),
        (["evaluate", "{t}", "-o", "{o}", "--setting", "new-modell"], "did you mean 'new-model'"),
        (["evaluate", "{t}", "-o", "{o}", "--setting", "trajectory"], "needs --trajectory"),
        (["evaluate", "{t}", "-o", "{o}", "--predictor", "irt", "--references", "500"], "500 references leave none"),
        (["predict", "{o}", "{f}/pool.csv", "--references", "{f}/references.csv", "-o", "{o}/x.csv"], "no predictor in"),
        (["predict", "{o}", "{f}/pool.csv", "--references", "{t}", "-o", "{o}/x.csv"], "must hold one pass-rate column"),
    ],
)
def test_mistakes_get_one_sentence(files: dict[str, Any], tmp_path: Path, arguments: list[str], message: str) -> None:
    """Misspelt names, missing files and impossible settings raise UserError, which the command line prints alone."""
    filled = [a.format(t=files["folder"] / "table.parquet", f=files["folder"], o=tmp_path / "out") for a in arguments]
    with pytest.raises(UserError, match=message):
        run(*filled)


def test_help_needs_neither_torch_nor_numpy() -> None:
    """The commands' module is light: importing it and asking for help loads no numerical library."""
    code = (
        "import sys; from harness.cli.predictor import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'torch', 'numpy', 'pandas', 'transformers'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
