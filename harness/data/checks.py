"""What can be known about a suite before anything is trained: are its questions there, gradable, and apart from each other?

Every gold answer goes through the reward as a completion of the form that the prompt asks for and must score 1.0. In mathematics, golds
that no rule reads are named: a right answer counts there only as it is spelled. Wrong answers must score 0: nonsense, and in mathematics
an empty box, ``0.0``, and the gold answer of another question.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.data.ngrams import GramIndex, N
from harness.data.overlap import normalised, repeats, shared
from harness.data.provenance import EMBEDDED, built_task
from harness.data.sizes import misfits
from harness.errors import UserError
from harness.registry import load_task
from harness.reward.grading.compare import readable
from harness.reward.numbers import exact_value
from harness.reward.service import RewardService
from harness.spec import RunSpec
from harness.task import WARM_UP, TaskData, no_warm_up
from harness.types import Question

Progress = Callable[[str, int, int], None]

#: Golds that go to the reward at once: the progress moves between such portions.
PORTION = 200
#: Questions per set that are answered with nonsense.
NONSENSE = 50
#: A gold answer of other digits is looked for among so many questions that follow.
NEIGHBOURS = 20
_NOT_ZERO = re.compile(r"[1-9]")
EXAMPLES = 5
#: Seconds per answer here: a machine that is busy with other things must not make a gold answer look wrong.
PATIENCE = 30.0
#: More tokens than so many per character were not seen in 20,000 questions of mathematics (a byte-level tokenizer, LaTeX and drawings).
TOKENS_PER_CHARACTER = 0.67


@dataclass(slots=True)
class Finding:
    """So many questions of a set have something in common; the first few as examples."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, questions: Sequence[Question], accepted: Mapping[int, str] | None = None) -> Finding:
        """The finding about these questions; ``accepted``: by question id, the other answer that scored."""
        beside = {id_: f", accepts: {_short(answer, 40)}" for id_, answer in (accepted or {}).items()}
        examples = [f"{_short(q.prompt, 90)} [gold: {_short(q.answer, 40)}{beside.get(q.id, '')}]" for q in questions[:EXAMPLES]]
        return cls(len(questions), examples)


@dataclass(slots=True)
class SetCheck:
    """One set of questions. Lengths are in characters; ``hash`` and ``source`` say which questions they are and where they came from."""

    name: str
    questions: int
    hash: str
    source: Mapping[str, Any]
    median_length: float = 0.0
    greatest_length: int = 0
    not_full_score: Finding = field(default_factory=Finding)
    letter_by_letter: Finding = field(default_factory=Finding)
    nonsense_scores: Finding = field(default_factory=Finding)
    empty_scores: Finding = field(default_factory=Finding)
    zero_scores: Finding = field(default_factory=Finding)
    other_gold_scores: Finding = field(default_factory=Finding)
    in_training: Finding = field(default_factory=Finding)
    near_training: Finding = field(default_factory=Finding)
    repeated: Finding = field(default_factory=Finding)
    without_prompt: Finding = field(default_factory=Finding)
    without_answer: Finding = field(default_factory=Finding)
    maybe_too_long: Finding = field(default_factory=Finding)


@dataclass(frozen=True, slots=True)
class Remark:
    """One sentence, and the first few questions behind it."""

    words: str
    examples: list[str] = field(default_factory=list)


@dataclass(slots=True)
class TaskCheck:
    """One task and the combinations that use it. ``problems`` should be mended or known before a run; ``notes`` are worth a look."""

    task: str
    combinations: list[str]
    reward: str
    sets: list[SetCheck] = field(default_factory=list)
    problems: list[Remark] = field(default_factory=list)
    notes: list[Remark] = field(default_factory=list)


_PROBLEMS = {
    "not_full_score": "gold answers do not score 1.0",
    "nonsense_scores": "questions give nonsense a full score",
    "empty_scores": "questions give an empty box a full score",
    "zero_scores": "questions give 0.0 a full score: is their gold answer zero?",
    "in_training": "questions are also in the training pool",
    "without_prompt": "prompts are empty",
    "without_answer": "gold answers are empty",
}
_NOTES = {
    "letter_by_letter": "gold answers are read by no rule: a right answer scores 1.0 only as they are spelled",
    "other_gold_scores": "questions accept the gold answer of another question, written differently: equal, or accepted by mistake",
    "near_training": f"questions share {N} words in a row with a training question, without being the same: variants, or a common source",
    "repeated": "questions are there more than once",
    "maybe_too_long": "prompts may be longer than max_prompt_tokens",
}


def check_runs(runs: Sequence[RunSpec], progress: Progress) -> list[TaskCheck]:
    """Check every task that the runs use, once; nothing is started and nothing is written."""
    by_task: dict[str, list[RunSpec]] = {}
    for run in runs:
        task = run.combination.task
        by_task.setdefault(json.dumps([task.name, task.config], sort_keys=True), []).append(run)
    scored: dict[str, dict[str, Finding]] = {}
    return [_check_task(same, scored, progress) for same in by_task.values()]


def _check_task(runs: Sequence[RunSpec], scored: dict[str, dict[str, Finding]], progress: Progress) -> TaskCheck:
    """``scored``: what the reward said of sets that several tasks share, by their hash."""
    spec = runs[0]
    name = spec.combination.task.name
    check = TaskCheck(name, list(dict.fromkeys(run.combination.name for run in runs)), "")
    if not hasattr(load_task(name), "build"):
        check.notes.append(Remark("the task's questions are made by its engine: nothing to check here"))
        return check
    progress(f"reading {', '.join(check.combinations)}", 0, 0)
    try:
        task = built_task(spec.combination.task)
    except UserError as error:
        check.problems.append(Remark(str(error)))
        return check
    check.task, check.reward = task.name, task.reward.name
    wanted = dict.fromkeys(name for run in runs for name in run.evaluation.all_sets)
    known = ", ".join(task.splits)
    check.problems += [
        Remark(f"there is no evaluation set {name!r} (the task has {known}); name the sets under [evaluation] sets")
        for name in wanted
        if name not in task.splits
    ]
    check.problems += _without_warm_up(runs, task)
    check.problems += [Remark(words) for words in dict.fromkeys(words for run in runs for words in misfits(run, task))]
    training = [q.prompt for q in task.split("train")] if "train" in task.splits else []
    grams = GramIndex(training)
    with RewardService(task.reward, seconds=max(PATIENCE, task.reward.seconds)) as service:
        for split in task.splits:
            if split != WARM_UP and task.split(split):
                limit = spec.algorithm.max_prompt_tokens if split == "train" else None
                found = _check_set(task, split, training, grams, limit)
                same = f"{found.hash} {task.right_completion}"
                if same not in scored:
                    scored[same] = _score(task, split, service, progress)
                for key, finding in scored[same].items():
                    setattr(found, key, finding)
                check.sets.append(found)
    for found in check.sets:
        check.problems += _remarks(found, _PROBLEMS)
        check.notes += _remarks(found, _NOTES)
    check.notes += _left_out(check.sets)
    return check


def _without_warm_up(runs: Sequence[RunSpec], task: TaskData) -> list[Remark]:
    """Embedded models that cannot be built, because the task gives them nothing to learn from."""
    models = dict.fromkeys(run.combination.model.name for run in runs if run.combination.model.name.startswith(EMBEDDED))
    return [Remark(no_warm_up(model, task.name)) for model in models if not task.splits.get(WARM_UP)]


def _check_set(task: TaskData, name: str, training: Sequence[str], grams: GramIndex, max_tokens: int | None) -> SetCheck:
    """Everything but the reward."""
    questions = task.split(name)
    prompts = [q.prompt for q in questions]
    lengths = [len(prompt) for prompt in prompts]
    result = SetCheck(name, len(questions), task.split_hash(name), task.sources.get(name, {}), statistics.median(lengths), max(lengths))
    result.repeated = Finding.of([questions[i] for i in repeats(prompts)])
    if name != "train":
        same = shared(prompts, training)
        result.in_training = Finding.of([questions[i] for i in same])
        result.near_training = Finding.of([questions[i] for i in grams.overlapping(prompts) if i not in set(same)])
    result.without_prompt = Finding.of([q for q in questions if not normalised(q.prompt)])
    result.without_answer = Finding.of([q for q in questions if not q.answer.strip()])
    if max_tokens is not None:
        result.maybe_too_long = Finding.of([q for q in questions if len(q.prompt) * TOKENS_PER_CHARACTER > max_tokens])
    return result


def _score(task: TaskData, name: str, service: RewardService, progress: Progress) -> dict[str, Finding]:
    """What the reward says of every gold answer, and of wrong answers."""
    questions = task.split(name)
    mathematics = task.reward.name == "math-verify"
    others = _other_golds(questions) if mathematics else {}
    total = len(questions) * (1 + 2 * mathematics) + len(questions[:NONSENSE]) + len(others)
    done = 0

    def with_full_score(asked: Sequence[Question], completion: Callable[[Question], str]) -> list[Question]:
        nonlocal done
        found: list[Question] = []
        for start in range(0, len(asked), PORTION):
            portion = asked[start : start + PORTION]
            scores = service.score([(completion(q), q.answer, task.scoring_metadata(q)) for q in portion])
            found += [q for q, score in zip(portion, scores, strict=True) if score >= 1.0]
            done += len(portion)
            progress(f"{task.name}: {name}", done, total)
        return found

    form = task.right_completion or ("The answer is \\boxed{{answer}}." if mathematics else "{answer}")
    right = with_full_score(questions, lambda q: form.replace("{answer}", q.answer))
    nonsense = with_full_score(questions[:NONSENSE], lambda _: "\\boxed{\\text{no idea}}" if mathematics else "no idea")
    found = {"not_full_score": _without(questions, right), "nonsense_scores": nonsense}
    if mathematics:
        found["letter_by_letter"] = [q for q in right if not readable(q.answer)]
        found["empty_scores"] = with_full_score(questions, lambda _: "\\boxed{}")
        found["zero_scores"] = with_full_score([q for q in questions if _NOT_ZERO.search(q.answer)], lambda _: "\\boxed{0.0}")
        found["other_gold_scores"] = with_full_score([q for q in questions if q.id in others], lambda q: f"\\boxed{{{others[q.id]}}}")
    return {key: Finding.of(some, others if key == "other_gold_scores" else None) for key, some in found.items()}


def _other_golds(questions: Sequence[Question]) -> dict[int, str]:
    """By question id, the gold answer of one of the next questions, if one is not plainly the same."""
    found: dict[int, str] = {}
    for i, question in enumerate(questions):
        for k in range(1, min(NEIGHBOURS, len(questions) - 1) + 1):
            other = questions[(i + k) % len(questions)].answer
            value = exact_value(other)
            if normalised(other) != normalised(question.answer) and (value is None or value != exact_value(question.answer)):
                found[question.id] = other
                break
    return found


def _without(questions: Sequence[Question], others: Sequence[Question]) -> list[Question]:
    ids = {q.id for q in others}
    return [q for q in questions if q.id not in ids]


def _remarks(found: SetCheck, words: Mapping[str, str]) -> list[Remark]:
    findings = {key: getattr(found, key) for key in words}
    return [
        Remark(f"{found.name}: {finding.count} of {found.questions} {words[key]}", finding.examples)
        for key, finding in findings.items()
        if finding.count
    ]


def _left_out(sets: Sequence[SetCheck]) -> list[Remark]:
    """What the task builder left out and what it says of its reading, once per source."""
    said: dict[str, None] = {}
    for found in sets:
        reasons = found.source.get("left_out") or {}
        if reasons:
            origin = found.source.get("file") or found.source.get("hub")
            listed = ", ".join(f"{count} {why}" for why, count in reasons.items())
            said[f"{origin}: left out of {found.source['records']} records: {listed}"] = None
        said.update((f"{found.source.get('file') or found.source.get('hub')}: {note}", None) for note in found.source.get("notes") or ())
    return [Remark(words) for words in said]


def _short(text: str, length: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else f"{text[: length - 1]}…"
