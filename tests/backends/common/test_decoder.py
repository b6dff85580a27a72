"""The decoder samples from the right distribution, says the right log-probs, and leaves the model as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.common.decoder import Decoder, left_pad, sample

PAD, EOS = 0, 2
PROMPTS = [[5, 6, 7, 8, 9, 10, 4], [11, 4], [12, 13, 14, 4], [3, 9, 9, 9, 4]]


def make_model(family: str, dtype: torch.dtype = torch.float32, **changes: Any) -> Any:
    """A random model whose next-token distributions are far from flat."""
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    if family == "gpt2":
        model: Any = GPT2LMHeadModel(
            GPT2Config(vocab_size=16, n_embd=32, n_layer=2, n_head=2, n_positions=64, bos_token_id=1, eos_token_id=EOS)
        )
    else:
        config, kind = (LlamaConfig, LlamaForCausalLM) if family == "llama" else (Qwen2Config, Qwen2ForCausalLM)
        settings = {
            "vocab_size": 16,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 256,
            "pad_token_id": PAD,
            "bos_token_id": 1,
            "eos_token_id": EOS,
        }
        model = kind(config(**{**settings, **changes}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4.0) if parameter.dim() == 2 else parameter.add_(0.1 * torch.randn_like(parameter))
    return model.to(dtype).eval()


@torch.no_grad()
def full_log_probs(model: Any, prompt: list[int], completion: list[int], temperature: float) -> np.ndarray[Any, Any]:
    """Log-probs of a completion from one ordinary forward pass without padding or cache."""
    logits = model(input_ids=torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1].float() / temperature
    picked = torch.log_softmax(logits, -1).gather(1, torch.tensor(completion)[:, None])[:, 0]
    return np.asarray(picked)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("fused", [True, False])
def test_log_probs_agree_with_a_full_forward_pass(family: str, temperature: float, fused: bool) -> None:
    """Left padding, repeated caches and dropped rows change no log-prob by more than 1e-5."""
    model = make_model(family)
    decoder = Decoder(model, [EOS], PAD, fused=fused)
    assert decoder.uses_fused_forward == (fused and family != "gpt2")
    groups = decoder.generate(PROMPTS, [3, 5, 4, 2], max_new_tokens=20, temperature=temperature, generator=generator())
    assert [len(g) for g in groups] == [3, 5, 4, 2]
    assert {c.truncated for g in groups for c in g} == {True, False}
    for prompt, group in zip(PROMPTS, groups, strict=True):
        for c in group:
            expected = full_log_probs(model, prompt, c.token_ids.tolist(), temperature)
            np.testing.assert_allclose(c.log_probs, expected, atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "qwen2"])
@pytest.mark.parametrize(
    "changes",
    [
        {"num_key_value_heads": 4, "tie_word_embeddings": True},
        {"head_dim": 16},
        {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0}},
        {"attention_bias": True, "mlp_bias": True},
    ],
    ids=["tied", "wide-heads", "scaled-rope", "biases"],
)
def test_fused_forward_equals_the_module(family: str, changes: dict[str, Any]) -> None:
    """The fused pass and the module sample the same completions with log-probs equal to 1e-5."""
    model = make_model(family, **changes)
    ours, theirs = (
        Decoder(model, [], PAD, fused=fused).generate(PROMPTS, 4, max_new_tokens=70, temperature=1.3, generator=generator(3))
        for fused in (True, False)
    )
    assert Decoder(model, [EOS], PAD).uses_fused_forward
    assert all(len(c.token_ids) == 70 for g in ours for c in g)  # past the first growth of the cache
    for a, b in zip((c for g in ours for c in g), (c for g in theirs for c in g), strict=True):
        np.testing.assert_array_equal(a.token_ids, b.token_ids)
        np.testing.assert_allclose(a.log_probs, b.log_probs, atol=1e-5)


def test_unknown_layers_go_through_the_module() -> None:
    """A model with a replaced linear layer (as adapters do) is not fused, and its replacement is what counts."""

    class Doubled(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(x)

    model = make_model("llama")
    old = model.model.layers[0].mlp.down_proj
    model.model.layers[0].mlp.down_proj = Doubled(old.in_features, old.out_features, bias=False)
    decoder = Decoder(model, [EOS], PAD)
    assert not decoder.uses_fused_forward
    (group,) = decoder.generate(PROMPTS[:1], 2, max_new_tokens=6, generator=generator())
    for c in group:
        np.testing.assert_allclose(c.log_probs, full_log_probs(model, PROMPTS[0], c.token_ids.tolist(), 1.0), atol=1e-5)


@pytest.mark.parametrize("fused", [True, False])
def test_completions_follow_the_model_distribution(fused: bool) -> None:
    """Over 40,000 two-token completions the counts fit the exact sequence probabilities (chi-square, p > 1e-4)."""
    model, prompt, n = make_model("llama"), PROMPTS[1], 40_000
    first = np.exp([full_log_probs(model, prompt, [t], 1.5)[0] for t in range(16)])
    expected: dict[tuple[int, ...], float] = {}
    for t in range(16):
        if t == EOS:
            expected[(t,)] = first[t]
        else:
            second = np.exp([full_log_probs(model, prompt, [t, u], 1.5)[1] for u in range(16)])
            expected.update({(t, u): first[t] * second[u] for u in range(16)})
    (group,) = Decoder(model, [EOS], PAD, fused=fused).generate([prompt], n, max_new_tokens=2, temperature=1.5, generator=generator(1))
    counts: dict[tuple[int, ...], int] = {}
    for c in group:
        key = tuple(c.token_ids.tolist())
        counts[key] = counts.get(key, 0) + 1
    assert_fits(counts, expected, n)


def test_top_p_draws_the_nucleus_in_proportion() -> None:
    """With probabilities .5 .3 .15 .05 and top_p .9 the first three are drawn as .5 : .3 : .15, the last never."""
    probs, n = np.array([0.05, 0.5, 0.15, 0.3]), 40_000
    uniform = torch.rand(n, dtype=torch.float64, generator=generator(2))
    drawn = sample(torch.tensor(np.log(probs)).float().expand(n, 4), uniform, top_p=0.9)
    counts = {(int(t),): int(k) for t, k in zip(*np.unique(drawn.numpy(), return_counts=True), strict=True)}
    assert_fits(counts, {(1,): 0.5 / 0.95, (3,): 0.3 / 0.95, (2,): 0.15 / 0.95}, n)


def test_top_p_log_probs_are_those_of_the_whole_vocabulary() -> None:
    """The nucleus restricts what is drawn, not the log-prob that is reported."""
    model = make_model("llama")
    (group,) = Decoder(model, [EOS], PAD).generate(PROMPTS[:1], 8, max_new_tokens=5, top_p=0.5, generator=generator())
    for c in group:
        np.testing.assert_allclose(c.log_probs, full_log_probs(model, PROMPTS[0], c.token_ids.tolist(), 1.0), atol=1e-5)


@given(
    weights=st.lists(st.floats(0, 1, allow_subnormal=False), min_size=2, max_size=8).filter(lambda w: sum(w) > 1e-3),
    uniform=st.floats(0, 1, exclude_max=True, allow_subnormal=False),
    top_p=st.floats(0.01, 1.0),
)
@settings(max_examples=200, deadline=None)
def test_impossible_tokens_are_never_drawn(weights: list[float], uniform: float, top_p: float) -> None:
    """Whatever the uniform number, a token of probability zero or outside the nucleus is not drawn."""
    probs = torch.tensor(weights, dtype=torch.float32) / sum(weights)
    (token,) = sample(probs.log()[None], torch.tensor([uniform], dtype=torch.float64), top_p).tolist()
    assert probs[token] > 0
    assert float(probs[probs > probs[token]].double().sum()) < top_p + 1e-6


def test_temperature_zero_is_greedy_and_ties_to_nothing_random() -> None:
    """Temperature 0 gives the likeliest token at every position, whatever the generator."""
    model = make_model("qwen2")
    one, two = (Decoder(model, [EOS], PAD).generate(PROMPTS, 1, max_new_tokens=8, temperature=0.0, generator=generator(s)) for s in (1, 2))
    for prompt, (a,), (b,) in zip(PROMPTS, one, two, strict=True):
        np.testing.assert_array_equal(a.token_ids, b.token_ids)
        ids = list(prompt)
        for token in a.token_ids:
            assert int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()) == token
            ids.append(int(token))


def test_rows_depend_on_the_generator_alone() -> None:
    """The same seed gives the same completions; another way of batching, or longer rows beside them, does not change a row."""
    model = make_model("llama")

    def run(**changes: Any) -> list[list[int]]:
        groups = Decoder(model, [EOS], PAD, **changes).generate(PROMPTS, 4, max_new_tokens=12, generator=generator(5))
        return [c.token_ids.tolist() for g in groups for c in g]

    assert run() == run() == run(max_rows=4) == run(max_rows=9)
    other = Decoder(model, [EOS], PAD).generate(PROMPTS, 4, max_new_tokens=12, generator=generator(6))
    assert run() != [c.token_ids.tolist() for g in other for c in g]


def test_generation_advances_the_generator_by_a_fixed_amount() -> None:
    """A saved generator state resumes exactly: how much is drawn depends on the shape asked for, not on what was sampled."""
    states = []
    for model in (make_model("llama"), make_model("qwen2")):
        g = generator(7)
        Decoder(model, [EOS], PAD).generate(PROMPTS, 3, max_new_tokens=9, generator=g)
        states.append(g.get_state())
    assert torch.equal(*states)


def test_training_mode_and_gradients_are_left_alone() -> None:
    """A model in training mode is decoded without dropout, then is in training mode again; frozen parts keep their mode."""
    model = make_model("gpt2").train()
    model.transformer.h[0].eval()
    modes = [m.training for m in model.modules()]
    (group,) = Decoder(model, [EOS], PAD).generate(PROMPTS[:1], 2, max_new_tokens=6, generator=generator())
    assert [m.training for m in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())
    model.eval()
    for c in group:
        np.testing.assert_allclose(c.log_probs, full_log_probs(model, PROMPTS[0], c.token_ids.tolist(), 1.0), atol=1e-5)


def test_weights_are_read_at_every_call() -> None:
    """After an update in place the decoder samples from the new policy."""
    model = make_model("llama")
    decoder = Decoder(model, [EOS], PAD)
    decoder.generate(PROMPTS, 1, max_new_tokens=2, generator=generator())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5)
    (group,) = decoder.generate(PROMPTS[:1], 2, max_new_tokens=6, generator=generator())
    for c in group:
        np.testing.assert_allclose(c.log_probs, full_log_probs(model, PROMPTS[0], c.token_ids.tolist(), 1.0), atol=1e-5)


def test_bfloat16_stays_close_to_the_module() -> None:
    """In bfloat16 the fused pass differs from the module by rounding only: mean gap of the log-probs below 0.03."""
    model = make_model("llama", torch.bfloat16)
    groups = Decoder(model, [EOS], PAD).generate(PROMPTS, 16, max_new_tokens=12, generator=generator())
    gaps = [
        np.abs(c.log_probs - full_log_probs(model, p, c.token_ids.tolist(), 1.0)) for p, g in zip(PROMPTS, groups, strict=True) for c in g
    ]
    assert float(np.concatenate(gaps).mean()) < 0.03


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("fused", [True, False])
def test_an_accelerator_gives_the_same_log_probs(fused: bool) -> None:
    """On CUDA in float32, with a generator on the CPU: what is sampled there has the log-probs of a pass on the CPU, to 1e-4."""
    model = make_model("llama")
    groups = Decoder(make_model("llama").cuda(), [EOS], PAD, fused=fused).generate(PROMPTS, 8, max_new_tokens=30, generator=generator())
    for prompt, group in zip(PROMPTS, groups, strict=True):
        for c in group:
            np.testing.assert_allclose(c.log_probs, full_log_probs(model, prompt, c.token_ids.tolist(), 1.0), atol=1e-4)


def test_every_end_token_ends_a_completion() -> None:
    """With two end tokens, the first of them is the last token; only without any is a completion truncated."""
    groups = Decoder(make_model("llama"), [EOS, 7], PAD).generate(PROMPTS, 32, max_new_tokens=10, generator=generator())
    completions = [c for g in groups for c in g]
    for c in completions:
        ids = c.token_ids.tolist()
        assert not {EOS, 7} & set(ids[:-1])
        assert c.truncated == (ids[-1] not in (EOS, 7))
        assert len(c.log_probs) == len(ids) <= 10
        assert not c.truncated or len(ids) == 10
    assert {c.token_ids[-1] for c in completions} >= {EOS, 7}
    assert (completions[0].token_ids.dtype, completions[0].log_probs.dtype) == (np.int32, np.float32)


@pytest.mark.parametrize(
    ("prompts", "counts", "changes", "message"),
    [
        ([[4], []], 1, {}, "prompt 1 is empty"),
        ([[4]], [1, 2], {}, "2 entries for 1 prompts"),
        ([[4]], 0, {}, "at least one rollout"),
        ([[4]], 1, {"top_p": 0.0}, "top_p"),
        ([[4]], 1, {"temperature": -1.0}, "temperature"),
        ([[4]], 1, {"max_new_tokens": 0}, "max_new_tokens"),
    ],
)
def test_bad_input_is_refused(prompts: list[list[int]], counts: Any, changes: dict[str, Any], message: str) -> None:
    """Settings that cannot be meant raise ValueError with the reason."""
    with pytest.raises(ValueError, match=message):
        Decoder(make_model("llama"), [EOS], PAD).generate(prompts, counts, **{"max_new_tokens": 2, "generator": generator(), **changes})


def test_left_pad() -> None:
    """Prompts end at the same position; the mask marks tokens."""
    ids, mask = left_pad([[1, 2, 3], [9]], 0, "cpu")
    assert ids.tolist() == [[1, 2, 3], [0, 0, 9]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]


def assert_fits(counts: dict[tuple[int, ...], int], expected: dict[tuple[int, ...], float], n: int) -> None:
    """Pearson's chi-square; cells that expect fewer than five are pooled. Normal approximation of its tail (Wilson–Hilferty)."""
    assert set(counts) <= set(expected)
    assert abs(sum(expected.values()) - 1) < 1e-4
    cells = [(counts.get(k, 0), p * n) for k, p in expected.items()]
    big = [c for c in cells if c[1] >= 5]
    small = [c for c in cells if c[1] < 5]
    if sum(e for _, e in small) > 0.5:
        big.append((sum(o for o, _ in small), sum(e for _, e in small)))
    statistic, df = sum((o - e) ** 2 / e for o, e in big), len(big) - 1
    z = ((statistic / df) ** (1 / 3) - (1 - 2 / (9 * df))) / (2 / (9 * df)) ** 0.5
    assert z < 3.7, f"chi-square {statistic:.1f} with {df} degrees of freedom"
