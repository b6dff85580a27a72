"""What ``status`` says of run folders that are none of the suite's runs."""

from __future__ import annotations

import json
from pathlib import Path

from toy_place import ToyPlace, fork_attempt, new_run

from harness.records.other_runs import other_runs
from harness.spec import IDENTITY_VERSION, RunSpec


def test_every_folder_is_sorted_by_why_it_is_not_the_suites(tmp_path: Path) -> None:
    """Another backend's run, one of an earlier identity, and one of other settings are told apart; the suite's own is none of them."""
    run = new_run(tmp_path)
    spec = RunSpec.load(run / "spec.json")
    runs_dir = run.parent.parent

    def add(changed: RunSpec, name: str, **run_record: object) -> Path:
        folder = run.parent / name
        folder.mkdir()
        changed.save(folder / "spec.json")
        (folder / "ledger.jsonl").write_text(json.dumps({"type": "run", "schema": 1, "run_id": name, **run_record}) + "\n")
        return folder

    other = spec.model_copy(update={"combination": spec.combination.model_copy(update={"backend": "trl"})})
    settings = spec.model_copy(update={"seed": 77})
    backend = add(other, other.run_id, identity=IDENTITY_VERSION)
    earlier = [add(spec, name) for name in ("00f3a1b2c3d4", "11f3a1b2c3d4")]
    edited = add(settings, settings.run_id, identity=IDENTITY_VERSION)
    found = other_runs(runs_dir, [spec])
    assert (found.by_backend, found.by_identity, found.other_settings) == ({"trl": [backend]}, {1: earlier}, [edited])
    words = found.sentences()
    assert words[0].startswith(f"the run folder {backend} was made by backend trl")
    assert "'--backend trl' shows it" in words[0]
    assert words[1].startswith(f"2 run folders in {run.parent} were made under an earlier identity (version 1; ")
    assert words[2].startswith(f"the run folder {edited} was made with other settings")


def test_a_run_of_this_version_is_not_taken_for_an_earlier_one(tmp_path: Path) -> None:
    """A finished run whose suite no longer lists it counts as made with other settings: its ledger names today's identity."""
    run = new_run(tmp_path)
    assert fork_attempt(run) == 0
    first = json.loads((run / "ledger.jsonl").read_bytes().split(b"\n")[0])
    assert first["identity"] == IDENTITY_VERSION
    spec = RunSpec.load(run / "spec.json")
    found = other_runs(run.parent.parent, [spec.model_copy(update={"seed": 77})])
    assert (found.by_identity, found.other_settings) == ({}, [run])


def test_status_says_so(place: ToyPlace) -> None:
    """One sentence at the end of ``halfway status``."""
    folder = place.runs / "00f3a1b2c3d4"
    folder.mkdir(parents=True)
    (folder / "ledger.jsonl").write_text('{"type":"run","schema":1,"run_id":"00f3a1b2c3d4"}\n')
    text = place.halfway("status", "toy.toml").stdout
    assert "made under an earlier identity (version 1" in text.splitlines()[-1]
