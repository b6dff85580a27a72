"""One run on several processes: ``torch.distributed.run`` around this module, rank 0 writes the ledger."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from backends.trl.sharding import kind_of
from harness.errors import Interrupted, RunFailed, UserError
from harness.files import import_from, write_text
from harness.machine.orphans import die_with_parent
from harness.records.stopping_ledger import RunLedger
from harness.spec import RunSpec

#: How rank 0 ended, in the run's folder, for the process that started the ranks.
_OUTCOME = "rank-outcome.json"
#: What each rank runs.
RANK_MODULE = "backends.trl.launch"


def launch(spec: RunSpec, run_dir: Path, cache: Path, resume_from: Path | None) -> bool:
    """Run ``spec.execution.processes`` ranks and wait for them. The caller writes nothing to the ledger meanwhile.

    Returns whether training ended at a checkpoint short of its last step. Raises what rank 0 raised (RunFailed, UserError), or
    Interrupted if a rank died without leaving a reason.
    """
    outcome = run_dir / _OUTCOME
    outcome.unlink(missing_ok=True)
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={spec.execution.processes}"),
        *("-m", RANK_MODULE, str(run_dir), str(cache), str(resume_from or "")),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": str(spec.execution.threads)}
    if kind_of(spec) and spec.execution.device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""  # FSDP takes the accelerator that torch sees, whatever the run's device
    # A killed worker must not leave ranks that go on writing: each process dies with the one that started it.
    code = subprocess.run(command, check=False, env=environment, preexec_fn=partial(die_with_parent, os.getpid())).returncode
    report = json.loads(outcome.read_text(encoding="utf-8")) if outcome.exists() else {}
    outcome.unlink(missing_ok=True)
    if "message" in report:
        raise RunFailed(report["kind"], report["message"]) if report["kind"] else UserError(report["message"])
    if code:
        raise Interrupted(f"one of its {spec.execution.processes} processes died (see the attempt's log.txt)")
    return bool(report.get("stopped", False))


def main() -> int:
    """One rank; arguments: run folder, cache folder, checkpoint to resume from or nothing."""
    die_with_parent(os.getppid())
    from backends.common.prepare import prepare
    from backends.trl.run import train_on_this_rank
    from harness.records.ledger import LEDGER_NAME

    run_dir, cache, resume_from = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    spec = RunSpec.load(run_dir / "spec.json")
    import_from(spec.combination.task.folder)
    ledger = RunLedger(run_dir / LEDGER_NAME, spec.budget, spec.algorithm.max_steps) if os.environ["RANK"] == "0" else None
    try:
        train_on_this_rank(spec, prepare(spec, cache, lambda *_: None), run_dir, ledger, Path(resume_from) if resume_from else None)
    except UserError as error:
        if ledger is not None:
            write_text(run_dir / _OUTCOME, json.dumps({"kind": getattr(error, "kind", None), "message": str(error)}))
        return 1
    if ledger is not None:
        write_text(run_dir / _OUTCOME, json.dumps({"stopped": ledger.stopped}))
    leave_process_group()
    return 0


def leave_process_group() -> None:
    """All ranks end together, and gloo's threads end here: at the interpreter's exit they can abort a run that is already done."""
    from torch import distributed

    if not distributed.is_initialized():
        return
    distributed.barrier()
    gc.collect()  # the model's wrapper keeps the group, and with it the threads, alive
    distributed.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main())
