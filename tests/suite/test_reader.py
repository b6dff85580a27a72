"""Suite files: what is read from them, and what is said about mistakes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from toy_place import SUITE as ONE_SEED

from harness.spec import AlgorithmSpec, ExecutionSpec
from harness.suite.reader import load_suite
from harness.suite.suite import SuiteError, find_suite, plan, shipped_suites
from harness.suite.trainer_words import TRAINER_WORDS
from tests.edits import edited

SUITE = edited(ONE_SEED, {"seeds = [1]": "seeds = [1, 2]"})


def load(tmp_path: Path, text: str) -> str:
    """The error message of a suite file, without its folder."""
    file = tmp_path / "mine.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SuiteError) as raised:
        load_suite(file)
    message = str(raised.value)
    assert "\n" not in message
    return message.replace(f"{tmp_path}/", "")


def swap(old: str, new: str) -> tuple[str, int]:
    """The toy suite with one line changed, and the number of that line."""
    return edited(SUITE, {old: new}, "first"), SUITE[: SUITE.index(old)].count("\n") + 1


MISTAKES = [
    ("seeds = [1, 2]", "seads = [1, 2]", "unknown key 'seads' in the suite; did you mean 'seeds'?"),
    ("group_size = 4", "grup_size = 4", "unknown key 'grup_size' in [algorithm]; did you mean 'group_size'?"),
    ("group_size = 4", 'group_size = "four"', "algorithm.group_size must be an integer, not 'four'"),
    ("group_size = 4", "group_size = 1", "algorithm.group_size must be greater than or equal to 2, not 1"),
    ("every_steps = 2", "evry_steps = 2", "unknown key 'evry_steps' in [evaluation]; did you mean 'every_steps'?"),
    ("every_steps = 2", "every_steps = 0", "evaluation.every_steps must be greater than or equal to 1, not 0"),
    ("[execution]", "[exekution]", "unknown key 'exekution' in the suite; did you mean 'execution'?"),
    ('backend = "toy_engine:ToyBackend"', 'backend = "trk"', "unknown backend 'trk'; did you mean 'trl'?"),
    ('task = "toy_engine:ToyTask"', 'task = "spell-bakward"', "unknown task 'spell-bakward'; did you mean 'spell-backward'?"),
    ('task = "toy_engine:ToyTask"', 'task = { name = "spell-backward", trian = 3 }', "no setting 'trian'; did you mean 'train'?"),
    ('task = "toy_engine:ToyTask"', "task = { train = 3 }", "a task needs a 'name'"),
    (
        'model = "softmax"',
        'model = { name = "m", revison = "x" }',
        "unknown key 'revison' in [combinations.model]; did you mean 'revision'?",
    ),
    ('model = "softmax"', "modle = 3", "unknown key 'modle' in [combinations]; did you mean 'model'?"),
    ('name = "bandit"', 'name = "a/b"', "combinations.name"),
    ('name = "grpo"', 'name = "gpro"', "unknown strategy 'gpro'; did you mean 'grpo'?"),
    ('label = "grpo-fast"', 'labl = "grpo-fast"', "unknown key 'labl' in [strategies]; did you mean 'label'?"),
    ('label = "grpo-fast"', 'combinations = ["bandid"]\nlabel = "x"', "unknown combination 'bandid'; did you mean 'bandit'?"),
    ("algorithm = { learning_rate = 5e-3 }", "algorithm = { lerning_rate = 5e-3 }", "did you mean 'learning_rate'?"),
    ("algorithm = { learning_rate = 5e-3 }", "algorithm = { updates_per_batch = 7 }", "updates_per_batch = 7 does not divide"),
    ("algorithm = { learning_rate = 5e-3 }", "algorithm = { drop_degenerate = true, kl_coefficient = 0.1 }", "still carries gradient"),
    ("algorithm = { learning_rate = 5e-3 }", "config = { capacity = 3 }", "strategy 'grpo' has no setting 'capacity'"),
    ('baseline = "grpo"', 'baseline = "grop"', "baseline 'grop' is not a strategy of this suite; did you mean 'grpo'?"),
    ("group_size = 4", "num_generations = 4", "unknown key 'num_generations' in [algorithm]; it is group_size"),
    (
        "algorithm = { learning_rate = 5e-3 }",
        "algorithm = { lora_rank = 8 }",
        "unknown key 'lora_rank' in [strategies.algorithm]; adapters are part",
    ),
    ("checkpoint_every_steps = 3", "save_steps = 3", "unknown key 'save_steps' in [execution]; it is [execution] checkpoint_every"),
    ("algorithm = { learning_rate = 5e-3 }", "algorithm = { ratio_level = 'sequence' }", "loss_aggregation = 'sequence-mean'"),
    ("learning_rate = 5e-3 }", "surrogate = 'cispo', loss_aggregation = 'dr-grpo' }", "= 'token-mean', not 'dr-grpo'"),
    ("checkpoint_every_steps = 3", "use_liger_kernel = true", "unknown key 'use_liger_kernel' in [execution]; Liger's fused loss keeps no"),
    (
        "checkpoint_every_steps = 3",
        "deepspeed = 'zero3.json'",
        "unknown key 'deepspeed' in [execution]; a run is sharded under [execution.engine]",
    ),
    ("group_size = 4", "max_staleness = 4", "unknown key 'max_staleness' in [algorithm]; it is staleness"),
    ("algorithm = { learning_rate = 5e-3 }", "algorithm = { staleness = -1 }", "staleness must be greater than or equal to 0, not -1"),
    ("seeds = [1, 2]", "seeds = [1, 1]", "seed 1 is listed twice"),
    ("seeds = [1, 2]", "seeds = [1, -2]", "a seed must lie between 0 and"),
    ("seeds = [1, 2]", "seeds = []", "seeds must not be empty"),
    ("seeds = [1, 2]", "seeds = [1, 2", "not valid TOML"),
    ("seeds = [1, 2]", "seeds = [1, 2]\nseeds = [3]", "not valid TOML: cannot overwrite a value"),
]


@pytest.mark.parametrize(("old", "new", "words"), MISTAKES, ids=[new for _, new, _ in MISTAKES])
def test_a_mistake_is_named_with_file_and_line(tmp_path: Path, old: str, new: str, words: str) -> None:
    """One sentence: file, line, key, and a suggestion where a known word is near."""
    text, line = swap(old, new)
    message = load(tmp_path, text)
    assert message.startswith("mine.toml, line ")
    assert words in message
    found = int(message.partition("line ")[2].partition(":")[0])
    if "not valid TOML" not in words:
        assert found == line


def test_what_trainers_call_otherwise_is_a_setting_here() -> None:
    """No name that is explained is a setting of its own in [algorithm], and every one it points to exists."""
    assert not set(TRAINER_WORDS) & set(AlgorithmSpec.model_fields)
    known = {*AlgorithmSpec.model_fields, *ExecutionSpec.model_fields}
    pointed = {match for words in TRAINER_WORDS.values() for match in re.findall(r"(?:it is (?:\[execution\] )?)(\w+)", words)}
    assert pointed <= known


def test_line_inside_the_second_of_an_array(tmp_path: Path) -> None:
    """In arrays of tables the line is that of the table that is wrong, not of the first."""
    text = SUITE + '\n[[strategies]]\nname = "rr"\n\n[strategies.config]\ncapacity = 64\nfresh_fractoin = 0.5\n'
    message = load(tmp_path, text)
    assert f"line {text.count(chr(10))}: " in message
    assert "strategy 'rr' has no setting 'fresh_fractoin'; did you mean 'fresh_fraction'?" in message


def test_bad_value_of_a_strategy_setting(tmp_path: Path) -> None:
    """A strategy's own settings are checked when the suite is read, with the line of the setting."""
    text = SUITE + '\n[[strategies]]\nname = "rr"\nconfig = { capacity = "many" }\n'
    message = load(tmp_path, text)
    assert f"line {text.count(chr(10))}: strategy 'rr', setting 'capacity'" in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (edited(SUITE, {"seeds = [1, 2]\n": ""}), "'seeds' is missing"),
        (edited(SUITE, {'model = "softmax"\n': ""}), "'model' is missing"),
        (edited(SUITE, {'label = "grpo-fast"\n': ""}), "strategy 'grpo' is there twice; give each its own label"),
        (
            edited(SUITE, {"algorithm = { learning_rate = 5e-3 }": ""}),
            "bandit/grpo/1 and bandit/grpo-fast/1 are the same run under two labels",
        ),
        ("", "is missing"),
    ],
)
def test_what_is_missing_or_twice(tmp_path: Path, text: str, words: str) -> None:
    """Missing keys, repeated labels, and two labels for one run are refused."""
    assert words in load(tmp_path, text)


def test_unreadable_files(tmp_path: Path) -> None:
    """No file, a folder, and bytes that are no text are each one sentence."""
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "none.toml", tmp_path, tmp_path / "bytes.toml"):
        with pytest.raises(SuiteError, match="cannot read"):
            load_suite(path)
    with pytest.raises(SuiteError, match="no suite file"):
        find_suite(str(tmp_path / "none.toml"))


def test_misspelt_suite_name() -> None:
    """Suites that come with Halfway are found by name; a misspelt one gets a suggestion."""
    assert find_suite("quick").name == "quick.toml"
    with pytest.raises(SuiteError, match=r"unknown suite 'quik'; did you mean 'quick'\?"):
        find_suite("quik")


def test_plan_order(tmp_path: Path) -> None:
    """Combination by combination; in each the baseline's runs first, since targets come from them, then all other arms seed by seed."""
    text = edited(SUITE, {'baseline = "grpo"': 'baseline = "grpo-fast"'})
    text += '\n[[combinations]]\nname = "second"\nbackend = "trl"\nmodel = "m"\ntask = { name = "toy_engine:ToyTask", actions = 3 }\n'
    text += '\n[[strategies]]\nname = "rr"\n'
    file = tmp_path / "s.toml"
    file.write_text(text, encoding="utf-8")
    runs = plan(load_suite(file))
    assert [run.title for run in runs] == [
        f"{combination}/{arm}"
        for combination in ("bandit", "second")
        for arm in ("grpo-fast/1", "grpo-fast/2", "grpo/1", "rr/1", "grpo/2", "rr/2")
    ]
    assert len({run.run_id for run in runs}) == 12


def test_overrides_and_filters(tmp_path: Path) -> None:
    """Strategy over combination over suite; a strategy can be limited to some combinations; defaults are filled in."""
    text = SUITE + (
        '\n[[strategies]]\nname = "rr"\ncombinations = ["second"]\nconfig = { capacity = 64 }\n'
        "[strategies.algorithm]\ngroup_size = 12\n"
        '[[combinations]]\nname = "second"\nbackend = "trl"\nmodel = { name = "m", revision = "abc" }\ntask = "toy_engine:ToyTask"\n'
        "algorithm = { group_size = 8, max_steps = 20 }\n"
    )
    file = tmp_path / "s.toml"
    file.write_text(text, encoding="utf-8")
    runs = {run.title: run for run in plan(load_suite(file))}
    assert "bandit/rr/1" not in runs
    assert runs["bandit/grpo/1"].algorithm.group_size == 4
    assert runs["second/grpo/1"].algorithm.group_size == 8
    assert runs["second/rr/1"].algorithm.group_size == 12
    assert runs["second/rr/1"].algorithm.max_steps == 20
    assert runs["second/rr/1"].algorithm.groups_per_step == 6
    assert runs["second/rr/1"].strategy.config["capacity"] == 64
    assert runs["second/rr/1"].strategy.config["fresh_fraction"] == 0.5
    assert runs["second/rr/1"].combination.model.revision == "abc"
    assert runs["second/grpo/1"].combination.task.config == {"questions": 48, "actions": 5}


def test_a_combination_may_be_evaluated_its_own_way(tmp_path: Path) -> None:
    """What a combination's ``evaluation`` says replaces the suite's, key by key, and the rest stays; a mistake is named with its line."""
    second = '\n[[combinations]]\nname = "second"\nbackend = "trl"\nmodel = "m"\ntask = "toy_engine:ToyTask"\n'
    text = SUITE + second + "evaluation = { samples_per_question = 3 }\n"
    file = tmp_path / "s.toml"
    file.write_text(text, encoding="utf-8")
    runs = {run.title: run.evaluation for run in plan(load_suite(file))}
    common = runs["bandit/grpo/1"]
    assert (common.every_steps, common.samples_per_question) == (2, 1)
    assert runs["second/grpo/1"] == runs["second/grpo/2"] == common.model_copy(update={"samples_per_question": 3})
    message = load(tmp_path, text.replace("samples_per_question", "samples_per_qestion"))
    assert message.startswith(f"mine.toml, line {text.count(chr(10))}: ")
    assert "unknown key 'samples_per_qestion' in [combinations.evaluation]; did you mean 'samples_per_question'?" in message


def test_default_written_out_is_the_same_run(tmp_path: Path) -> None:
    """Identity is that of the resolved settings: writing a default into the file changes nothing."""
    file = tmp_path / "s.toml"
    ids = []
    for text in (SUITE, edited(SUITE, {'task = "toy_engine:ToyTask"': 'task = { name = "toy_engine:ToyTask", actions = 5 }'})):
        file.write_text(text, encoding="utf-8")
        ids.append([run.run_id for run in plan(load_suite(file))])
    assert ids[0] == ids[1]


@pytest.mark.parametrize("path", shipped_suites(), ids=lambda p: p.stem)
def test_shipped_suites_load(path: Path) -> None:
    """Every suite that comes with Halfway can be planned, is named like its file, and starts with its baseline."""
    suite = load_suite(path)
    runs = plan(suite)
    assert suite.name == path.stem
    assert suite.description
    assert runs[0].strategy.label == suite.baseline
