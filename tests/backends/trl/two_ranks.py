"""One rank of a two-process run; writes which groups reached its loss and a digest of its final weights."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from backends.common.prepare import prepare
from backends.trl.launch import leave_process_group
from backends.trl.run import build_trainer
from harness.records.ledger import LedgerWriter
from harness.spec import RunSpec


def main() -> None:
    run_dir, cache, rank = Path(sys.argv[1]), Path(sys.argv[2]), os.environ["RANK"]
    spec = RunSpec.load(run_dir / "spec.json")
    ledger = LedgerWriter(run_dir / "ledger.jsonl") if rank == "0" else None
    trainer = build_trainer(spec, prepare(spec, cache, lambda *_: None), run_dir / "checkpoints", ledger)
    steps: list[dict[str, int]] = []
    original = trainer.session.next_groups

    def next_groups() -> Any:
        groups = original()
        steps.append({f"{g.question_id}/{i}": g.size for i, g in enumerate(groups)})
        return groups

    trainer.session.next_groups = next_groups  # type: ignore[method-assign]
    rows: list[Counter[Any]] = []
    prepare_inputs = trainer._prepare_inputs

    def counted(generation_batch: Any) -> Any:
        inputs = prepare_inputs(generation_batch)
        rows.append(Counter(map(tuple, inputs["prompt_ids"].tolist())))
        return inputs

    trainer._prepare_inputs = counted
    with trainer.session.engine.scoring():
        trainer.train()
    weights = hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in trainer.model.parameters())).hexdigest()
    (run_dir / f"rank{rank}.json").write_text(json.dumps({"steps": steps, "weights": weights}))


if __name__ == "__main__":
    main()
    leave_process_group()
