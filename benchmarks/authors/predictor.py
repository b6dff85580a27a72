"""The attention predictor against the authors' code, run beside it on the same random weights and inputs.

Their network (``adaptive_difficulty_prediction/model.py``) is built with random weights at its real size, saved as their training saves it,
imported by ``halfway predictor import``'s function, and both predict. Their clone is only read; its module is executed.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.authors.comparison import Clone, Comparison, Result
from harness.predictor import AttentionPredictor, AttentionSettings
from harness.predictor.lab.attention_network import AttentionNetwork
from harness.predictor.lab.attention_training import learning_rate_factor
from harness.predictor.lab.checkpoint_import import import_checkpoint

WIDTH, UNITS, QUESTIONS, REFERENCES = 1536, 896, 80, 32


def row(rule: str, difference: float, deviation: str = "") -> Result:
    """A row about all questions of the case."""
    return Result(rule, QUESTIONS, difference, deviation)


@dataclass(frozen=True, slots=True)
class Case:
    """Random inputs; pass rates are multiples of an eighth."""

    embeddings: torch.Tensor
    references: torch.Tensor
    pass_rates: torch.Tensor
    targets: torch.Tensor

    @classmethod
    def random(cls, seed: int) -> Case:
        """80 questions, 32 of them references: their module projects the references again for every question."""
        generator = torch.Generator().manual_seed(seed)
        embeddings = torch.randn(QUESTIONS, WIDTH, generator=generator, dtype=torch.float64) * 3 + 0.5
        references = torch.randperm(QUESTIONS, generator=generator)[:REFERENCES]
        outcomes = torch.randint(0, 9, (REFERENCES + QUESTIONS,), generator=generator).double() / 8
        return cls(embeddings, references, outcomes[:REFERENCES], outcomes[REFERENCES:])


def compare(repository: Path) -> list[Result]:
    """Rows of the table. repository: a clone of the authors' repository."""
    theirs = their_network(repository).eval()
    case = Case.random(1)
    with tempfile.TemporaryDirectory() as folder:
        file, artifact = Path(folder) / "model_final.pt", Path(folder) / "predictor"
        state = {f"regressor.{name}": tensor for name, tensor in theirs.state_dict().items()}
        torch.save({"model_state_dict": state, "config": {"model_name": "any/encoder"}}, file)
        import_checkpoint(file, artifact, revision="any")
        return [*predictions(theirs, artifact, case), *training(theirs, case), learning_rate()]


def their_network(repository: Path) -> Any:
    """Their ``ResidualHead`` as their scripts configure it, with random weights."""
    file = repository / "adaptive_difficulty_prediction" / "model.py"
    spec = importlib.util.spec_from_file_location("their_model", file)
    if spec is None or spec.loader is None or not file.is_file():
        raise SystemExit(f"{file} is not there; give a clone of ASTRAL-Group/data-efficient-llm-rl")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.manual_seed(0)
    return module.ResidualHead(WIDTH, UNITS, num_layers=3, scaling="group_logit_temp").double()


def predictions(theirs: Any, artifact: Path, case: Case) -> list[Result]:
    """What both predict for every question, references included."""
    values = case.pass_rates.expand(QUESTIONS, -1)
    keys = case.embeddings[case.references].expand(QUESTIONS, -1, -1)
    with torch.no_grad():
        plain = {tau: theirs.sim_head(case.embeddings, keys, values, tau).numpy() for tau in (1.0, 0.5)}
        calibrated = theirs(case.embeddings, keys, values, 1.0).numpy()
    ids = case.references.numpy()
    slope, intercept = np.polyfit(calibrated[ids], case.pass_rates.numpy(), 1)
    expected = slope * calibrated + intercept

    def ours(dtype: Any = np.float64, variant: str = "code", **chosen: Any) -> Any:
        predictor = AttentionPredictor.load(artifact, AttentionSettings.of(variant, **chosen), dtype=dtype)
        predictor.project_queries(case.embeddings.numpy())
        return predictor.predict(ids, case.pass_rates.numpy())

    rest = np.setdiff1d(np.arange(QUESTIONS), ids)
    masked = np.abs(ours(variant="paper") - calibrated)
    return [
        row("adapters and attention", largest(ours(calibration="none"), plain[1.0])),
        row("… at attention temperature .5", largest(ours(calibration="none", temperature=0.5), plain[0.5])),
        row("… with the calibration head", largest(ours(calibration="platt"), calibrated)),
        row("… with the linear regression (variant code)", largest(ours(), expected)),
        row("… the same in float32, as runs compute it", largest(ours(np.float32), expected)),
        row(
            "variant paper, questions that are no references",
            float(masked[rest].max()),
            "imported network: the head stays the repository's",
        ),
        row("variant paper, references", float(masked[ids].max()), "meant: a reference does not attend to itself"),
    ]


def training(theirs: Any, case: Case) -> list[Result]:
    """Loss and gradient of one batch in which every query has another model's reference rates."""
    generator = torch.Generator().manual_seed(2)
    values = torch.randint(0, 9, (QUESTIONS, REFERENCES), generator=generator).double() / 8
    keys = case.embeddings[case.references]
    theirs.zero_grad()
    predicted = theirs(case.embeddings, keys.expand(QUESTIONS, -1, -1), values, 1.0)
    their_loss = torch.nn.functional.binary_cross_entropy(predicted, case.targets)
    their_loss.backward()
    network = AttentionNetwork(WIDTH, UNITS, shared=False, dropout=0.1, head="code").double().eval()
    named = dict(zip(network.state_dict(), theirs.state_dict(), strict=True))
    weights = theirs.state_dict()
    network.load_state_dict({ours: weights[their] for ours, their in named.items()})
    loss = torch.nn.functional.binary_cross_entropy_with_logits(network(case.embeddings, keys, values), case.targets)
    loss.backward()
    gradients = dict(theirs.named_parameters())
    differences = [largest(p.grad, gradients[named[name]].grad) for name, p in network.named_parameters()]
    return [
        row("training: loss of a batch with models mixed", abs(float(loss.detach()) - float(their_loss.detach()))),
        row("training: gradient of that batch", max(differences)),
    ]


def learning_rate() -> Result:
    """The schedule of their ``train.py``: transformers' linear schedule with min(100, a tenth) warm-up steps."""
    from transformers import get_linear_schedule_with_warmup

    worst = 0.0
    for total in (40, 999, 5000):
        optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        schedule = get_linear_schedule_with_warmup(optimizer, min(100, total // 10), total)
        for step in range(total):
            worst = max(worst, abs(optimizer.param_groups[0]["lr"] - learning_rate_factor(step, total)))
            optimizer.step()
            schedule.step()
    return row("training: learning rate over 40, 999 and 5,000 steps", worst)


def largest(ours: Any, theirs: Any) -> float:
    """Largest absolute difference."""
    return float(np.abs(np.asarray(ours) - np.asarray(theirs)).max())


def attention(clone: Clone, path: str) -> Iterator[Result]:
    """The rows of ``benchmarks/against_authors.py``."""
    with tempfile.TemporaryDirectory() as folder:
        clone.write(path, Path(folder))
        yield from compare(Path(folder))


COMPARISONS = [Comparison("dots", "ASTRAL-Group/data-efficient-llm-rl", "adaptive_difficulty_prediction/model.py", attention)]
