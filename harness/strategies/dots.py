"""DOTS, difficulty-targeted online data selection (Sun et al., NeurIPS 2025, arXiv 2506.05316, section 3.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from harness.numerics.sampling import sample_near_target
from harness.strategies.variant import VariantConfig
from harness.strategy import Composition, Selector, StepContext
from harness.types import FloatArray, IntArray, PromptGroup, Selection


class DotsConfig(VariantConfig):
    """The paper's settings; ``variant = "code"`` takes those of the authors' repository. See ``FifoConfig`` for what a suite adds."""

    CODE: ClassVar[Mapping[str, Any]] = {
        "calibration": "platt+linear", "exclude_self": False, "draw": "interval", "draw_references": True,
    }  # fmt: skip

    interval: int = Field(2, ge=1, description="μ: steps between two predictions")
    references: int = Field(256, ge=2, description="K: reference questions rolled out for each prediction")
    alpha: float = Field(0.5, ge=0, le=1, description="target difficulty", json_schema_extra={"tune": {"low": 0.3, "high": 0.7}})
    tau: float = Field(
        1e-3, gt=0, description="temperature of P(q) ∝ exp(−|d̂ − α|/τ)", json_schema_extra={"tune": {"low": 1e-3, "high": 0.3, "log": True}}
    )
    draw: Literal["step", "interval"] = Field(
        "step", description="step: B questions at every step; code (interval): those of a whole interval at once, shuffled and split"
    )
    draw_references: bool = Field(False, description="whether reference questions may be selected too (code: true)")
    calibration: Literal["platt", "platt+linear"] = Field("platt", description="paper: platt; code: platt+linear")
    exclude_self: bool = Field(True, description="a reference attends to the other references only (code: false)")
    attention_temperature: float = Field(1.0, gt=0, description="divides the attention logits")
    attention_top_k: int | None = Field(None, ge=1, description="attend to the k most similar references only")
    predictor: str | None = Field(
        None, description="folder made by `halfway predictor train`; null: trained on sibling models in the prepare step (embedded models)"
    )
    reference_set: Literal["random", "diverse"] = Field(
        "random", description="random: drawn anew for each prediction (paper); diverse: one fixed k-center set on the embeddings"
    )
    history: bool = Field(False, description="past pass rates of the run's own groups refine the prediction, discounted by staleness")
    reuse_references: bool = Field(
        False,
        description="references with a pass rate near 1/2 join the batch and save fresh rollouts (the paper mentions it; code: false)",
    )


class Dots(Selector[DotsConfig]):
    """P(q) ∝ exp(−|d̂_q − α|/τ) over the pool, without replacement within an interval; references are left out unless drawn too.

    Every ``interval`` steps K random references are rolled out with the current policy (on the clock, in the probe ledger)
    and d̂ of every other question is attended from their difficulties by the trained predictor.
    """

    Config = DotsConfig
    requires = frozenset({"probe", "embed", "predictor"})
    version = 2  # the variants of the paper and of its code

    def __init__(self, config: DotsConfig) -> None:
        super().__init__(config)
        self._predicted: FloatArray = np.empty(0)
        self._used: IntArray = np.empty(0, dtype=np.int64)
        self._drawn: IntArray = np.empty(0, dtype=np.int64)  # for the rest of the interval
        self._since = 0
        self._diverse: IntArray = np.empty(0, dtype=np.int64)
        self._history: dict[str, Any] = {}
        self._probes: list[PromptGroup] = []
        self._info: dict[str, float | str | bool] = {}
        self._predictor: Any = None

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        self._probes = []
        due = not len(self._predicted) or ctx.step >= self._since + self.config.interval
        if due:
            self._predict_pool(ctx)
        chosen = self._draw(num_groups, ctx)
        return Selection(chosen, predicted_pass_rates=self._predicted[chosen], info={**self._info, "references_rolled_out": due})

    def _draw(self, num_groups: int, ctx: StepContext) -> IntArray:
        """The next ``num_groups`` questions; under ``draw = "interval"`` from those drawn for the whole interval at its first step."""
        if len(self._drawn) < num_groups:  # always under ``step``; otherwise a new interval, or a step that asks for more than the first
            steps = self.config.interval if self.config.draw == "interval" else 1
            self._drawn = self._sample(min(steps * num_groups, len(ctx.pool)), num_groups, ctx)
            if self.config.draw == "interval":
                self._drawn = ctx.rng.permutation(self._drawn)
        chosen, self._drawn = self._drawn[:num_groups], self._drawn[num_groups:]
        return chosen

    def _sample(self, size: int, least: int, ctx: StepContext) -> IntArray:
        candidates = np.setdiff1d(np.arange(len(ctx.pool)), self._used)
        if len(candidates) < least:  # a pool so small that the interval has used it up
            candidates = np.arange(len(ctx.pool))
        size = min(size, len(candidates))
        chosen = candidates[sample_near_target(self._predicted[candidates], size, ctx.rng, self.config.alpha, self.config.tau)]
        self._used = np.union1d(self._used, chosen)
        return chosen

    def reuse(self, num_groups: int, ctx: StepContext) -> list[PromptGroup]:
        if not self.config.reuse_references:
            return []
        near = sorted((g for g in self._probes if not g.is_degenerate), key=lambda g: abs(1 - g.pass_rate - self.config.alpha))
        return [g for g in near if g.size == ctx.group_size][:num_groups]

    def predict(self, question_ids: IntArray, ctx: StepContext) -> FloatArray | None:
        return self._predicted[question_ids] if len(self._predicted) else None

    def _predict_pool(self, ctx: StepContext) -> None:
        references = self._references(ctx)
        self._probes = ctx.probe(references)
        rates = np.array([g.pass_rate for g in self._probes])
        predictor = self._loaded(ctx)
        self._predicted = np.asarray(predictor.predict(references, rates), dtype=np.float64)
        self._used = np.empty(0, dtype=np.int64) if self.config.draw_references else np.sort(references)
        self._drawn, self._since = np.empty(0, dtype=np.int64), ctx.step
        self._info = dict(predictor.info)

    def _references(self, ctx: StepContext) -> IntArray:
        size = min(self.config.references, len(ctx.pool))
        if self.config.reference_set == "random":
            return ctx.rng.choice(len(ctx.pool), size=size, replace=False)
        if not len(self._diverse):
            from harness.predictor.diverse import k_center

            self._diverse = k_center(ctx.embed(np.arange(len(ctx.pool))), size, ctx.rng)
        return self._diverse

    def _loaded(self, ctx: StepContext) -> Any:
        if self._predictor is None:
            from harness.predictor.questions import PoolFeatures

            self._predictor = self._load(self.config.predictor or ctx.predictor or "", ctx.group_size)
            self._predictor.prepare(PoolFeatures.of(ctx.embed(np.arange(len(ctx.pool))), [q.prompt for q in ctx.pool]))
            if self._history:
                self._predictor.load_state_dict(self._history)
        return self._predictor

    def _load(self, path: str, group_size: int) -> Any:
        from harness.predictor.attention import AttentionPredictor, AttentionSettings
        from harness.predictor.history import HistoryPredictor
        from harness.predictor.load import load_predictor

        predictor: Any = load_predictor(path)
        if predictor.kind == AttentionPredictor.kind:
            config = self.config
            settings = AttentionSettings(
                calibration=config.calibration,
                exclude_self=config.exclude_self,
                temperature=config.attention_temperature,
                top_k=config.attention_top_k,
            )
            predictor = AttentionPredictor.load(path, settings)
        return HistoryPredictor(predictor, rollouts=group_size) if self.config.history else predictor

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        """The run's own groups, references included, become history; without that setting nothing is remembered."""
        if self.config.history and self._predictor is not None:
            ids, rates = np.array([g.question_id for g in groups]), np.array([g.pass_rate for g in groups])
            self._predictor.observe(ids, rates, ctx.group_size, ctx.policy_version)
            self._history = self._predictor.state_dict()

    def state_dict(self) -> dict[str, Any]:
        return {
            "predicted": self._predicted,
            "used": self._used,
            "drawn": self._drawn,
            "since": self._since,
            "info": self._info,
            "diverse": self._diverse,
            "history": self._history,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._predicted, self._used, self._drawn = (np.asarray(state[k]) for k in ("predicted", "used", "drawn"))
        self._since, self._info = int(state["since"]), dict(state["info"])
        self._diverse, self._history = np.asarray(state["diverse"]), dict(state["history"])


DOTS = Composition(
    Dots,
    summary="questions predicted nearest difficulty 1/2",
    source="arXiv 2506.05316, section 3.1",
    observes="pass rates of K random references, embeddings",
    acts="before the rollout",
    costs="K reference groups every second step; a predictor trained once",
)
