"""One run in a process of its own, as a worker gives it: vLLM leaves its process group and its threads behind. Writes facts.json.

Arguments: run folder with a spec.json, cache folder, checkpoint to resume from or nothing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from backends.common.prepare import prepare
from backends.trl.backend import TrlBackend
from backends.trl.run import build_trainer
from harness.records.ledger import LEDGER_NAME
from harness.records.ledger_records import Attempt
from harness.records.stopping_ledger import RunLedger
from harness.spec import RunSpec


def main() -> None:
    run_dir, cache = Path(sys.argv[1]), Path(sys.argv[2])
    resume_from = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    spec = RunSpec.load(run_dir / "spec.json")
    ledger = RunLedger(run_dir / LEDGER_NAME, spec.budget, spec.algorithm.max_steps)
    if resume_from is not None:
        ledger.write(Attempt(2, {}, spec.execution.checkpoint_every_steps))
    if spec.execution.processes > 1:
        TrlBackend().train(spec, run_dir, cache, ledger, resume_from)
        return
    trainer = build_trainer(spec, prepare(spec, cache, lambda *_: None), run_dir / "checkpoints", ledger)
    with trainer.session.engine.scoring():
        if resume_from is not None:
            trainer.session.resume(resume_from)
        trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)
    config = trainer.vllm_generation.llm.llm_engine.model_config
    (run_dir / "facts.json").write_text(json.dumps({"dtype": str(config.dtype), "seed": config.seed}))


if __name__ == "__main__":
    main()
