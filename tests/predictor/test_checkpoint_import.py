"""``halfway predictor import``: the authors' checkpoint becomes a predictor; anything else is refused and nothing is executed."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")

import torch

from harness.cli.predictor import app
from harness.errors import UserError
from harness.predictor import AttentionPredictor, AttentionSettings
from harness.predictor.lab.checkpoint_import import AUTHORS_REVISION, import_checkpoint

DATA = Path(__file__).parents[3] / "shared" / "data"
CHECKPOINT = DATA / "authors_predictor_small.pt"
golden = pytest.mark.skipif(not CHECKPOINT.is_file(), reason="the golden data are not on this machine")


def their_state(width: int = 12, units: int = 16, layers: int = 3, prefix: str = "") -> dict[str, Any]:
    """A state dict as the authors' module names it, with random weights."""
    generator = torch.Generator().manual_seed(0)

    def tensor(*shape: int) -> Any:
        return torch.randn(*shape, generator=generator)

    state: dict[str, Any] = {}
    for adapter in ("query_proj", "ref_proj"):
        shapes: list[tuple[int, tuple[int, ...]]] = [(0, (width,))]
        shapes += [(1 + 3 * i, (units, units if i else width)) for i in range(layers)]
        shapes += [(1 + 3 * (layers - 1) + 1, (units,))]
        for position, shape in shapes:
            state[f"{prefix}sim_head.{adapter}.{position}.weight"] = tensor(*shape)
            state[f"{prefix}sim_head.{adapter}.{position}.bias"] = tensor(shape[0])
    for position, (rows, columns) in ((0, (10, 2)), (2, (2, 10))):
        state[f"{prefix}mlp.{position}.weight"], state[f"{prefix}mlp.{position}.bias"] = tensor(rows, columns), tensor(rows)
    return state


def run(*arguments: Any) -> str:
    result = CliRunner().invoke(app, ["import", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@golden
def test_the_imported_checkpoint_predicts_what_the_authors_network_does(tmp_path: Path) -> None:
    """Round trip: import their file, load the artifact, predict: their outputs to 1e-9 in float64, to 1e-5 in float32."""
    said = run(CHECKPOINT, "-o", tmp_path, "--embedder", "hf:some/model", "--revision", "abc")
    assert "12 -> 16" in said
    assert 'variant = "code"' in said
    with np.load(DATA / "authors_predictor.npz", allow_pickle=False) as data:
        expected = dict(data)
    for dtype, tolerance in ((np.float64, 1e-9), (np.float32, 1e-5)):
        predictor = AttentionPredictor.load(tmp_path, AttentionSettings.of("code"), embedder="hf:some/model@abc", dtype=dtype)
        predictor.project_queries(expected["embeddings"])
        predicted = predictor.predict(expected["references"], expected["reference_pass_rates"])
        np.testing.assert_allclose(predicted, expected["out/platt_linear_tau1.0"], atol=tolerance, rtol=0)


def test_their_training_checkpoint_names_the_embedder(tmp_path: Path) -> None:
    """A file as their training writes it: state dict beside config and metrics, network under ``regressor.``; the encoder is ignored."""
    state = their_state(prefix="regressor.") | {"encoder.embed.weight": torch.zeros(3, 3)}
    torch.save(
        {"model_state_dict": state, "config": {"model_name": "an/encoder"}, "train_metrics": {"epoch_losses": [0.5]}}, tmp_path / "m.pt"
    )
    made = import_checkpoint(tmp_path / "m.pt", tmp_path / "out", revision="abc")
    assert made["embedder"] == "hf:an/encoder@abc"
    assert AttentionPredictor.load(tmp_path / "out").units == 16


def test_shapes_come_from_the_file(tmp_path: Path) -> None:
    """Two layers of 24 units on embeddings 1,536 wide: the authors' model and its pinned commit are then known."""
    torch.save(their_state(1536, 24, layers=2), tmp_path / "m.pt")
    made = import_checkpoint(tmp_path / "m.pt", tmp_path / "out")
    assert (made["width"], made["units"]) == (1536, 24)
    assert made["embedder"] == f"hf:Qwen/Qwen2.5-Math-1.5B-Instruct@{AUTHORS_REVISION}"
    predictor = AttentionPredictor.load(tmp_path / "out")
    predictor.project_queries(np.random.default_rng(0).standard_normal((9, 1536)))
    assert np.isfinite(predictor.predict(np.arange(4), np.arange(4) / 4)).all()


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, (f"touch {self.proof}",)


@pytest.mark.parametrize("form", ["torch", "pickle", "inside"])
def test_a_hostile_file_is_refused_and_not_executed(tmp_path: Path, form: str) -> None:
    """A pickle that would run a command is refused in one sentence, in every container, and the command has not run."""
    proof, file = tmp_path / "executed", tmp_path / "hostile.pt"
    if form == "torch":
        torch.save(Hostile(proof), file)
    elif form == "pickle":
        file.write_bytes(pickle.dumps(Hostile(proof)))
    else:
        torch.save({"model_state_dict": their_state(), "config": Hostile(proof)}, file)
    with pytest.raises(UserError, match="nothing in it was executed") as caught:
        import_checkpoint(file, tmp_path / "out", "hf:some/model", "abc")
    assert "\n" not in str(caught.value)
    assert not proof.exists()
    assert not (tmp_path / "out").exists()


def without(*names: str) -> dict[str, Any]:
    return {name: tensor for name, tensor in their_state().items() if not name.startswith(names)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.zeros(2)], "holds a list"),
        ({"weight": torch.zeros(2)}, "no adapters sim_head.query_proj"),
        ({"model_state_dict": 3}, "no adapters sim_head.query_proj"),
        (without("mlp."), "lacks mlp.0.weight, the calibration head"),
        (without("sim_head.ref_proj"), "sim_head.ref_proj is not a norm, linear layers and a norm"),
        (without("sim_head.query_proj.0."), "sim_head.query_proj is not a norm, linear layers and a norm"),
        (their_state() | {"mlp.0.weight": torch.zeros(10, 3)}, "expected \\(units, 2\\)"),
        (their_state() | {"sim_head.ref_proj.4.weight": torch.zeros(16, 15)}, "reference.layers.1.weight is \\(16, 15\\)"),
    ],
)
def test_other_networks_are_refused_with_a_sentence(tmp_path: Path, content: Any, message: str) -> None:
    """A file of tensors that is not such a network says what it lacks."""
    torch.save(content, tmp_path / "m.pt")
    with pytest.raises(UserError, match=message):
        import_checkpoint(tmp_path / "m.pt", tmp_path / "out", "hf:some/model", "abc")


def test_missing_torn_and_foreign_files_are_refused_with_a_sentence(tmp_path: Path) -> None:
    """No file, half a file, a text, a zip of something else."""
    torch.save(their_state(), tmp_path / "m.pt")
    (tmp_path / "torn.pt").write_bytes((tmp_path / "m.pt").read_bytes()[:2000])
    (tmp_path / "text.pt").write_text("weights")
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as archive:
        archive.writestr("a", "b")
    with pytest.raises(UserError, match="there is no file"):
        import_checkpoint(tmp_path / "none.pt", tmp_path / "out")
    for name in ("torn", "text", "other"):
        with pytest.raises(UserError, match="is not a checkpoint of tensors"):
            import_checkpoint(tmp_path / f"{name}.pt", tmp_path / "out")


def test_an_embedder_that_cannot_be_known_is_asked_for(tmp_path: Path) -> None:
    """Another width than the authors', a hub model without its commit, and text features are one sentence each."""
    torch.save(their_state(), tmp_path / "m.pt")
    for arguments, message in (((), "--embedder hf:MODEL"), (("hf:some/model",), "--revision"), (("tfidf",), "hf:MODEL, not 'tfidf'")):
        with pytest.raises(UserError, match=message):
            import_checkpoint(tmp_path / "m.pt", tmp_path / "out", *arguments)
