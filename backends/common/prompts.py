"""Questions to token ids: the chat template where the task has a system prompt, the bare prompt elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.errors import UserError
from harness.task import TaskData
from harness.types import Question


def prompt_text(tokenizer: Any, task: TaskData, question: Question) -> str:
    """The text that the model reads for a question."""
    if task.system_prompt is None:
        return question.prompt
    if not getattr(tokenizer, "chat_template", None):
        raise UserError(f"task {task.name!r} needs a chat template, but the model's tokenizer has none; choose an instruction-tuned model")
    messages = [{"role": "system", "content": task.system_prompt}, {"role": "user", "content": question.prompt}]
    if not task.system_prompt:
        del messages[0]
    return str(tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))


def encode_prompts(tokenizer: Any, task: TaskData, questions: Sequence[Question]) -> list[list[int]]:
    """Token ids of every question's prompt; a templated text already holds its special tokens."""
    if not questions:
        return []
    texts = [prompt_text(tokenizer, task, q) for q in questions]
    encoded = tokenizer(texts, add_special_tokens=task.system_prompt is None)["input_ids"]
    return [list(ids) for ids in encoded]
