"""Tasks whose answers stand in tags: one token per tag, through tokenizer, warm-up targets and a saved model."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from small_task import small_task

from backends.common import tiny_models
from backends.common.char_tokenizer import build_tokenizer, pieces
from backends.common.completion import decode_text
from backends.common.model_loading import load_model
from backends.common.tiny_models import build_tiny_model
from harness.task import WARM_UP, TaskData

TAGS = ("<answer>", "</answer>")


def tagged_task() -> TaskData:
    """spell-backward whose warm-up targets hold the word, then the tagged answer."""
    task = small_task(noise_slope=1.0, noise_offset=0.0)
    shown = tuple(replace(q, answer=f"{q.prompt}<answer>{q.answer}</answer>") for q in task.split(WARM_UP))
    return replace(task, splits={**task.splits, WARM_UP: shown}, tokens=TAGS)


def test_pieces_by_hand() -> None:
    """Tags whole, everything else by character; a tag that is not closed is characters."""
    assert pieces("a<b<answer>cd</answer>", TAGS) == ["a", "<", "b", "<answer>", "c", "d", "</answer>"]
    assert pieces("a\n<answer", TAGS) == ["a", "\n", "<", "a", "n", "s", "w", "e", "r"]
    assert pieces("<answer>") == list("<answer>")


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_a_tag_is_one_token_and_stays_in_the_text(family: str) -> None:
    """Five tokens for ``ab``, the tags and one letter between them; decoding gives the text back, special tokens dropped."""
    tokenizer = build_tokenizer(family, "abc ", TAGS)
    ids = tokenizer("ab<answer>c</answer>")["input_ids"]
    assert len(ids) == 5
    assert tokenizer.unk_token_id not in ids
    assert decode_text(tokenizer, [*ids, tokenizer.eos_token_id]) == "ab<answer>c</answer>"
    assert len(tokenizer) == len(build_tokenizer(family, "abc ")) + 2


@pytest.mark.parametrize("name", ["embedded:llama-32x1", "embedded:qwen2-32x1"])
def test_a_saved_model_knows_its_tags(name: str, tmp_path: Path) -> None:
    """The loaded tokenizer reads tags as the model was trained on them, and the embedding has a row for each."""
    task = tagged_task()
    loaded = load_model(str(build_tiny_model(name, task, 0, tmp_path)))
    text = task.split(WARM_UP)[0].answer
    ids = loaded.tokenizer(text)["input_ids"]
    assert len(ids) == len(pieces(text, TAGS))
    assert loaded.model.get_input_embeddings().weight.shape[0] == len(loaded.tokenizer) > max(ids)
    untagged = replace(task, splits={**task.splits, WARM_UP: small_task().split(WARM_UP)}, tokens=())
    assert build_tiny_model(name, untagged, 0, tmp_path).parent != Path(loaded.model.name_or_path).parent


def test_corruption_leaves_tags_alone() -> None:
    """At the highest noise (.9) letters change and the tags stay where they are; no letter turns into part of a tag."""
    task = tagged_task()
    batches = tiny_models._Batches(task, build_tokenizer("llama", task.alphabet, TAGS), random.Random(0))
    assert not set(batches._letters) & set("<>/")
    changed = 0
    for question in task.split(WARM_UP):
        before, after = pieces(question.answer, TAGS), batches._corrupt(question, 1.0)
        assert [i for i, piece in enumerate(after) if piece in TAGS] == [i for i, piece in enumerate(before) if piece in TAGS]
        changed += sum(a != b for a, b in zip(before, after, strict=True))
    assert changed > sum(len(pieces(q.answer, TAGS)) - 2 for q in task.split(WARM_UP)) / 2
