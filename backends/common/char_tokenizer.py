"""Character-level tokenizers that ``AutoTokenizer.from_pretrained`` loads back, offline."""

from __future__ import annotations

from typing import Any

from harness.errors import UserError

_PLAIN = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>"}
_CHATML = {"pad_token": "<|endoftext|>", "bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "unk_token": "<unk>"}
_OPTIONS = {"padding_side": "left", "clean_up_tokenization_spaces": False}


def build_tokenizer(family: str, alphabet: str) -> Any:
    """A fast tokenizer with one token per character of ``alphabet``, pad and end tokens; nothing is added to a prompt.

    transformers always reads a ``qwen2`` folder as a byte-level Qwen2 tokenizer, so that family gets one without merges
    (its special tokens are those of ChatML).
    """
    characters = sorted(set(alphabet))
    return _qwen2(characters) if family == "qwen2" else _words(characters)


def _words(characters: list[str]) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: i for i, token in enumerate([*_PLAIN.values(), *characters])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, _PLAIN["unk_token"]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **_PLAIN, **_OPTIONS)


def _qwen2(characters: list[str]) -> Any:
    from transformers import Qwen2Tokenizer

    odd = next((c for c in characters if not (c in " \n" or "!" <= c <= "~")), None)
    if odd is not None:
        raise UserError(f"a qwen2-style embedded model cannot read the character {odd!r}; use a llama-style one for this task")
    # Byte-level names: a printable ASCII character stands for itself, a space for Ġ, a newline for Ċ.
    names = [{" ": "\u0120", "\n": "\u010a"}.get(c, c) for c in characters if c != "\n"] + ["\u010a"]
    vocabulary = {token: i for i, token in enumerate([*_CHATML.values(), *names])}
    return Qwen2Tokenizer(vocab=vocabulary, merges=[], **_CHATML, **_OPTIONS)
