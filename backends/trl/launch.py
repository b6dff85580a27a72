"""One run on several processes: ``torch.distributed.run`` around this module, rank 0 writes the ledger."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from harness.errors import RunFailed, UserError
from harness.spec import RunSpec

_FAILURE = "rank-failure.json"


def launch(spec: RunSpec, run_dir: Path, cache: Path, resume_from: Path | None) -> None:
    """Run ``spec.execution.processes`` ranks and wait. The caller writes nothing to the ledger meanwhile.

    Raises what rank 0 raised (RunFailed, UserError), or RunFailed if the ranks died without a word.
    """
    failure = run_dir / _FAILURE
    failure.unlink(missing_ok=True)
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={spec.execution.processes}"),
        *("-m", "backends.trl.launch", str(run_dir), str(cache), str(resume_from or "")),
    ]
    code = subprocess.run(command, check=False, env={**os.environ, "OMP_NUM_THREADS": str(spec.execution.threads)}).returncode
    if failure.exists():
        report = json.loads(failure.read_text(encoding="utf-8"))
        failure.unlink()
        if report["kind"] is None:
            raise UserError(report["message"])
        raise RunFailed(report["kind"], report["message"])
    if code:
        raise RunFailed("ranks-died", f"the {spec.execution.processes} processes of this run ended with code {code}; see the attempt's log.txt")


def main() -> int:
    """One rank."""
    from backends.trl.backend import train_on_this_rank
    from harness.ledger import LEDGER_NAME, LedgerWriter

    run_dir, cache, resume_from = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    spec = RunSpec.load(run_dir / "spec.json")
    ledger = LedgerWriter(run_dir / LEDGER_NAME) if os.environ["RANK"] == "0" else None
    try:
        train_on_this_rank(spec, run_dir, cache, ledger, Path(resume_from) if resume_from else None)
    except UserError as error:
        if ledger is not None:
            report = {"kind": getattr(error, "kind", None), "message": str(error)}
            (run_dir / _FAILURE).write_text(json.dumps(report), encoding="utf-8")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
