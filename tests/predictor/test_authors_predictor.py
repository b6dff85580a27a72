"""The attention predictor against outputs of the authors' own network, on the same weights and inputs (golden data)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.predictor import AttentionPredictor, AttentionSettings

GOLDEN = Path(__file__).parents[3] / "shared" / "data" / "authors_predictor.npz"

pytestmark = pytest.mark.skipif(not GOLDEN.is_file(), reason="the golden data are not on this machine")

#: Our names of the layers in the authors' modules.
ADAPTER = {0: "input_norm", 1: "layers.0", 4: "layers.1", 7: "layers.2", 8: "output_norm"}


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    with np.load(GOLDEN, allow_pickle=False) as data:
        return dict(data)


def arrays_of(golden: dict[str, Any]) -> dict[str, Any]:
    named = {("sim_head.query_proj", i): f"query.{ours}" for i, ours in ADAPTER.items()}
    named |= {("sim_head.ref_proj", i): f"reference.{ours}" for i, ours in ADAPTER.items()}
    named |= {("mlp", 0): "calibration.0", ("mlp", 2): "calibration.1"}
    return {f"{ours}.{kind}": golden[f"state/{module}.{i}.{kind}"] for (module, i), ours in named.items() for kind in ("weight", "bias")}


@pytest.mark.parametrize(
    ("output", "chosen"),
    [
        ("plain_tau1.0", {"calibration": "none"}),
        ("plain_tau0.5", {"calibration": "none", "temperature": 0.5}),
        ("calibrated_tau1.0", {"calibration": "platt"}),
        ("calibrated_tau0.5", {"calibration": "platt", "temperature": 0.5}),
        ("platt_linear_tau1.0", {}),
    ],
)
def test_the_code_variant_gives_the_authors_numbers(golden: dict[str, Any], output: str, chosen: dict[str, Any]) -> None:
    """Every output of their network, with and without calibration, at two temperatures, to 1e-9 in float64."""
    description = {"width": 12, "units": 16, "shared": False, "head": "code", "embedder": "authors"}
    predictor = AttentionPredictor(arrays_of(golden), description, AttentionSettings.of("code", **chosen))
    predictor.project_queries(golden["embeddings"])
    predicted = predictor.predict(golden["references"], golden["reference_pass_rates"])
    np.testing.assert_allclose(predicted, golden[f"out/{output}"], atol=1e-9, rtol=0)
    if output.startswith("platt_linear"):
        assert predictor.info["linear_slope"] == pytest.approx(float(golden["slope"]), abs=1e-8)


def test_the_training_network_gives_the_authors_numbers(golden: dict[str, Any]) -> None:
    """The torch module that is trained is the same function (1e-12), also where a model was not measured on some references."""
    torch = pytest.importorskip("torch")
    from harness.predictor.lab.attention_network import AttentionNetwork

    network = AttentionNetwork(12, 16, shared=False, dropout=0.1, head="code").double().eval()
    network.load_state_dict({name: torch.from_numpy(array) for name, array in arrays_of(golden).items()})
    embeddings = torch.from_numpy(golden["embeddings"])
    references = embeddings[torch.from_numpy(golden["references"])]
    rates = torch.from_numpy(golden["reference_pass_rates"]).expand(len(embeddings), -1)
    with torch.no_grad():
        predicted = network(embeddings, references, rates).sigmoid().numpy()
        unmeasured = torch.cat([rates, torch.full_like(rates, torch.nan)], dim=1)
        padded = network(embeddings, torch.cat([references, references.flip(0)]), unmeasured).sigmoid().numpy()
    np.testing.assert_allclose(predicted, golden["out/calibrated_tau1.0"], atol=1e-12, rtol=0)
    np.testing.assert_allclose(padded, predicted, atol=1e-12, rtol=0)
