"""``halfway predictor collect``: mistakes that are found before any process starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.predictor import app
from harness.errors import UserError


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "a,b"], "say what to roll out"),
        (["--models", "a,b", "--suite", "quick", "--task", "maths"], "say what to roll out"),
        (["--models", "a,a", "--suite", "quick"], "name different models"),
        (["--models", " , ", "--suite", "quick"], "name different models"),
        (["--models", "a", "--suite", "quik"], "unknown suite 'quik'; did you mean 'quick'"),
        (["--models", "a", "--suite", "quick", "--combination", "spell"], "the suite has spell-backward"),
        (["--models", "a", "--task", "spell-backward"], "needs --max-completion-tokens"),
        (["--models", "a", "--task", "spel-backward", "--max-completion-tokens", "9"], "did you mean 'spell-backward'"),
        (["--models", "a", "--task", "spell-backward", "--max-completion-tokens", "9", "--set", "train"], "write KEY=VALUE"),
        (["--models", "a", "--task", "spell-backward", "--max-completion-tokens", "9", "--set", "trian=9"], "trian"),
        (["--models", "a", "--suite", "quick", "--top-p", "1.5"], "--top-p: must be less than or equal to 1"),
        (["--models", "a", "--suite", "quick", "--generation", "vlm"], "--generation: must be"),
    ],
)
def test_mistakes_get_one_sentence(arguments: list[str], message: str, tmp_path: Path) -> None:
    """Nothing is started and nothing is written."""
    result = CliRunner().invoke(app, ["collect", "-o", str(tmp_path / "rates.parquet"), *arguments])
    assert isinstance(result.exception, UserError)
    assert message in str(result.exception)
    assert list(tmp_path.iterdir()) == []
