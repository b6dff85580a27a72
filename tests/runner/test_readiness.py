"""What keeps a run from starting is said before anything is started: one sentence, an exit code, no run's folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from toy_place import HERE, ROOT, SUITE, ToyPlace

from harness.runner.readiness import missing_models
from harness.suite.reader import load_suite
from harness.suite.suite import plan
from tests.edits import edited

PLUGIN = """
from harness.strategies.uniform import Uniform
class Mine(Uniform):
    "Mine."
    name = "mine"
"""
WITH_PLUGIN = edited(SUITE, {'name = "grpo"\nlabel = "grpo-fast"': 'name = "mine"\nplugin = "only_here:Mine"'})


def other_python(place: ToyPlace) -> Path:
    """An interpreter for the toy backend with its own modules: it finds Halfway and the toy engine, and nothing else."""
    script = place.folder / "other" / "python"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT}:{HERE} exec {sys.executable} "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    place.environment["HALFWAY_PYTHON_TOY_ENGINE_TOYBACKEND"] = str(script)
    return script


def refused(place: ToyPlace, *words: str, **extra: str) -> str:
    """The one sentence with which a command ends before it has made a folder."""
    done = place.halfway(*words, **extra)
    assert done.returncode == 2, done.stdout + done.stderr
    assert not place.runs.exists()
    (line,) = done.stderr.splitlines()
    return line.removeprefix("halfway: ")


def test_a_plugin_that_the_other_python_lacks(place: ToyPlace) -> None:
    """The interpreter, the strategy and the module are named; with the plugin there too, the suite runs."""
    python = other_python(place)
    mine = place.folder / "mine"
    mine.mkdir()
    (mine / "only_here.py").write_text(PLUGIN, encoding="utf-8")
    place.write(WITH_PLUGIN)
    here = {"PYTHONPATH": f"{ROOT}:{HERE}:{mine}"}
    sentence = f"{python}, the Python of backend 'toy_engine:ToyBackend', cannot run strategy 'mine': "
    assert refused(place, "run", "toy.toml", **here) == sentence + "cannot import 'only_here:Mine': no module named 'only_here'"
    planned = place.halfway("plan", "toy.toml", **here)
    assert planned.returncode == 0
    assert f"not ready: {sentence}" in planned.stdout
    (mine / "only_here.py").rename(place.folder / "only_here.py")  # where the command is given: workers look there
    done = place.halfway("run", "toy.toml")
    assert done.returncode == 0, done.stderr


def test_tuning_is_refused_too(place: ToyPlace) -> None:
    """``tune`` starts nothing that ``run`` would not start."""
    place.write(edited(SUITE, {"toy_engine:ToyTask": "tuned_task:Task"}) + "\n[tuning]\nseeds = [11]\n")
    place.environment["PYTHONPATH"] = f"{ROOT}:{HERE}:{HERE.parent / 'tuning'}"
    assert "cannot run here: toy is not installed" in refused(place, "tune", "toy.toml", TOY_MISSING="1")


def test_a_plugin_and_a_model_beside_the_suite_are_found_by_the_other_python(place: ToyPlace) -> None:
    """From whatever folder the command is given."""
    other_python(place)
    beside = place.folder / "beside"
    (beside / "model").mkdir(parents=True)
    (beside / "only_here.py").write_text(PLUGIN, encoding="utf-8")
    (beside / "toy.toml").write_text(edited(WITH_PLUGIN, {'"softmax"': '"./model"'}), encoding="utf-8")
    planned = place.halfway("plan", "beside/toy.toml")
    assert (planned.returncode, planned.stderr) == (0, "")
    assert "not ready" not in planned.stdout


def test_a_backend_that_is_not_installed(place: ToyPlace) -> None:
    """``run`` refuses; ``plan`` says it beside its table, and refuses where the backend was asked for by name."""
    words = (
        "backend 'toy_engine:ToyBackend' cannot run here: toy is not installed; pip install 'halfway[toy]'; or name the Python of an "
        "environment that has it in HALFWAY_PYTHON_TOY_ENGINE_TOYBACKEND"
    )
    assert refused(place, "run", "toy.toml", TOY_MISSING="1") == words
    assert refused(place, "plan", "toy.toml", "--backend", "toy_engine:ToyBackend", TOY_MISSING="1") == words
    planned = place.halfway("plan", "toy.toml", TOY_MISSING="1")
    assert planned.returncode == 0
    assert f"not ready: {words}" in planned.stdout


def test_an_interpreter_that_is_not_there(place: ToyPlace) -> None:
    """Nothing is prepared for a Python that cannot be started."""
    place.environment["HALFWAY_PYTHON_TOY_ENGINE_TOYBACKEND"] = "/no/such/python"
    assert "/no/such/python (from HALFWAY_PYTHON_TOY_ENGINE_TOYBACKEND), is not a program" in refused(place, "run", "toy.toml")


@pytest.mark.parametrize(
    ("model", "is_folder"),
    [("/nowhere/model", True), ("./model", True), ("../m", True), ("~/m", True), ("a/b/c", True), ("org/name", False), ("gpt2", False)],
)
def test_what_is_taken_for_a_folder(tmp_path: Path, model: str, is_folder: bool) -> None:
    """A hub id has no dot or slash in front and at most one slash inside; whether it exists, only the hub knows."""
    (tmp_path / "toy.toml").write_text(edited(SUITE, {'"softmax"': f'"{model}"'}), encoding="utf-8")
    found = missing_models(plan(load_suite(tmp_path / "toy.toml")))
    advice = f"'halfway import-model SOURCE {model}' makes one of a GGUF file, or of the source smollm2"
    assert found == ([f"combination 'bandit' names the model folder {model}, which is not there; {advice}"] if is_folder else [])


def test_a_model_folder_that_is_not_there(place: ToyPlace) -> None:
    """``run`` and ``plan`` refuse it, ``validate`` lists it as a problem; a folder that is there passes."""
    place.write(edited(SUITE, {'"softmax"': '"./model"'}))
    sentence = (
        "combination 'bandit' names the model folder ./model, which is not there; "
        "'halfway import-model SOURCE ./model' makes one of a GGUF file, or of the source smollm2"
    )
    assert refused(place, "run", "toy.toml") == sentence
    assert refused(place, "plan", "toy.toml") == sentence
    checked = place.halfway("validate", "toy.toml")
    assert checked.returncode == 1
    assert f"PROBLEM  {sentence}\n" in checked.stdout
    assert "1 problem\n" in checked.stdout
    (place.folder / "model").mkdir()
    assert place.halfway("plan", "toy.toml").returncode == 0


def test_an_empty_model(place: ToyPlace) -> None:
    """Named with its line."""
    place.write(edited(SUITE, {'"softmax"': '""'}))
    assert refused(place, "plan", "toy.toml") == "toy.toml, line 21: combinations.model.name must not be empty"


def test_paths_that_are_no_text(place: ToyPlace) -> None:
    """Bytes that are not UTF-8 in an argument or a variable of ours would fail after minutes, in the library that saves the model."""
    words = "is not valid UTF-8 text; rename the file or folder that it stands for"
    assert refused(place, "run", "toy.toml", "--runs-dir", "r\udcfe") == f"argument 'r\\udcfe' {words}"
    assert refused(place, "plan", "\udcff.toml") == f"argument '\\udcff.toml' {words}"
    assert refused(place, "plan", "toy.toml", HALFWAY_DATA="\udcfe") == f"HALFWAY_DATA='\\udcfe' {words}"


def test_suite_text_that_is_no_text(place: ToyPlace) -> None:
    """Half a surrogate pair, as an escape or as bytes, is an error of the file."""
    place.write(edited(SUITE, {"A toy.": "\\ud800"}))
    assert refused(place, "plan", "toy.toml").startswith("toy.toml, line 3: not valid TOML: ")
    place.suite.write_bytes(SUITE.encode().replace(b"A toy.", b"\xed\xa0\x80"))
    assert refused(place, "plan", "toy.toml").startswith("cannot read toy.toml: 'utf-8' codec can't decode byte 0xed")
