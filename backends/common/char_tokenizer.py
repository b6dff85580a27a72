"""Character-level tokenizers that ``AutoTokenizer.from_pretrained`` loads back, offline."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_PLAIN = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>"}
_CHATML = {"pad_token": "<|endoftext|>", "bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "unk_token": "<unk>"}
_OPTIONS = {"padding_side": "left", "clean_up_tokenization_spaces": False}


def build_tokenizer(family: str, alphabet: str, tokens: Sequence[str] = ()) -> Any:
    """A fast tokenizer with one token per character of ``alphabet``, pad and end tokens; nothing is added to a prompt.

    tokens: texts of several characters that are one token each; unlike special tokens they are part of a completion's text.

    transformers always reads a ``qwen2`` folder as a byte-level Qwen2 tokenizer, so that family gets one whose only merges make
    characters of several bytes one token (its special tokens are those of ChatML).
    """
    characters = sorted(set(alphabet))
    tokenizer = _qwen2(characters) if family == "qwen2" else _words(characters)
    if tokens:
        from tokenizers import AddedToken

        tokenizer.add_tokens([AddedToken(text, normalized=False, special=False) for text in tokens])
    return tokenizer


def pieces(text: str, tokens: Sequence[str] = ()) -> list[str]:
    """``text`` as such a tokenizer cuts it: ``tokens`` whole, everything else by character."""
    if not tokens:
        return list(text)
    return re.findall("|".join([*map(re.escape, tokens), r"[\s\S]"]), text)


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

    names = _byte_names()
    # A newline last, as its byte-level name sorts; characters of several bytes are merged back into one token each.
    spelled = [[names[byte] for byte in c.encode()] for c in [*(c for c in characters if c != "\n"), "\n"]]
    tokens = dict.fromkeys([*_CHATML.values(), *("".join(parts) for parts in spelled if len(parts) == 1)])
    merges: dict[tuple[str, str], None] = {}
    for parts in spelled:
        tokens.update(dict.fromkeys(parts))
        for end in range(1, len(parts)):
            merges["".join(parts[:end]), parts[end]] = None
            tokens["".join(parts[: end + 1])] = None
    vocabulary = {token: i for i, token in enumerate(tokens)}
    return Qwen2Tokenizer(vocab=vocabulary, merges=list(merges), **_CHATML, **_OPTIONS)


def _byte_names() -> dict[int, str]:
    """GPT-2's printable name of each byte: printable Latin-1 stands for itself, the rest for U+0100 onwards."""
    itself = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return {byte: chr(byte if byte in itself else next(others)) for byte in range(256)}
