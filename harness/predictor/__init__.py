"""Predicting every question's pass rate under the current policy from a few rolled-out references.

Usable on its own and by the ``dots`` strategy. numpy only; torch is imported by :mod:`harness.predictor.lab` alone.

Train once (``halfway predictor train``, or a backend's prepare step)::

    from harness.predictor.lab.attention_training import train_predictor
    from harness.predictor.lab.training_settings import TrainingSettings
    facts = train_predictor(embeddings, pass_rates,             # (N, width), (N, M); NaN = not measured
                            embedder="policy:<hash>", out=folder, seed=1,
                            settings=TrainingSettings.of("paper"),  # or "code"; units=…, epochs=…, references=… override
                            progress=lambda done, total: ...)
    facts["training"]["seconds"]                                # the one-off cost; also in folder/predictor.json

Use at every selection::

    from harness.predictor import AttentionPredictor, AttentionSettings, sample_near_target
    predictor = AttentionPredictor.load(folder, AttentionSettings.of("paper"), embedder="policy:<hash>")
    predictor.project_queries(embeddings)                       # once per run; embeddings (N, width) of the whole pool
    p = predictor.predict(reference_ids, reference_pass_rates)  # (N,) pass rates; query_ids=… for some of them
    selected = sample_near_target(p[candidates], B, ctx.rng)    # positions in ``candidates``, α = 0.5, τ = 1e-3
    predictor.info                                              # scalars for Selection.info, fallbacks named

Other predictors behind the same protocol (:class:`harness.predictor.base.DifficultyPredictor`): ``irt``, ``history``, ``ensemble``;
:func:`harness.predictor.load.load_predictor` loads any saved one, :func:`harness.predictor.diverse.k_center` gives a fixed diverse
reference set.

All references solved or all failed: every prediction is the same and ``info["predictor_fallback"]`` says so (selection near
the target is then uniform). NaN or repeated references, more references than questions, an artifact of another embedder or
width: ``UserError``.
"""

from __future__ import annotations

from harness.numerics.sampling import sample_near_target
from harness.predictor.attention import AttentionPredictor, AttentionSettings

__all__ = ["AttentionPredictor", "AttentionSettings", "sample_near_target"]
