"""Continuing a text: greedy, sampled, and with drafts of the model's own.

When: to see what a model has learnt, and to measure what a token costs in generation. `speculative`
drafts a token for each depth of the model's multi-token prediction, judges all of them in one pass
of the trunk, and keeps those that agree: several tokens a pass where drafts are good.
When not: many texts at once; it is for one.
Cost: a pass of the trunk a token, or, with drafts, a pass over 1 + depths tokens for 1 to
1 + depths of them.

Source: Y. Leviathan, M. Kalman & Y. Matias, Fast inference from Transformers via speculative
decoding, ICML 2023, arXiv:2211.17192, Algorithm 1; drafts by multi-token prediction: DeepSeek-V3,
arXiv:2412.19437, Section 2.2.
Differences from the source: the greedy choice is the distribution that has all its mass on one
token, so that one rule serves both.

Drafts change neither the greedy text nor the distribution of a sampled one, up to rounding: the
trunk sees the same tokens in groups of another size. What is drawn depends on the seed and the
position of the token alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evoopt import rng
from evoopt.errors import ConfigurationError
from evoopt_llm.models.base import Cache, LanguageModel
from evoopt_llm.models.nemotron import Nemotron, NemotronCache

Array = NDArray[Any]

_DRAW, _ACCEPT, _REPLACE = range(3)  # columns of the random numbers of a position


class Statistics(NamedTuple):
    """What it took.

    Attributes:
        tokens: number of new ones. passes: of the trunk, the prompt's included.
        judged, accepted: drafts of each depth that came to be judged (those before them were
            accepted), and of these, the accepted ones; () without drafts.
    """

    tokens: int
    passes: int
    judged: tuple[int, ...]
    accepted: tuple[int, ...]

    @property
    def acceptance(self) -> tuple[float, ...]:
        """Share of the judged drafts of each depth that were accepted; nan where there were
        none."""
        pairs = zip(self.accepted, self.judged, strict=True)
        return tuple(a / j if j else float("nan") for a, j in pairs)

    @property
    def tokens_per_pass(self) -> float:
        """New tokens a pass of the trunk, the prompt's included."""
        return self.tokens / self.passes


class Sampler(NamedTuple):
    """How tokens are chosen: 0 is the greedy temperature; top_k None keeps all tokens."""

    temperature: float
    top_k: int | None
    seed: int

    def probabilities(self, logits: Tensor) -> Array:
        """Logits (..., vocabulary). Returns: float64 of the same shape."""
        z = logits.double().cpu().numpy()
        if self.temperature == 0:
            return np.asarray(np.eye(z.shape[-1])[z.argmax(-1)])
        if self.top_k is not None:
            least = np.partition(z, -self.top_k, axis=-1)[..., -self.top_k, None]
            z = np.where(z < least, -np.inf, z)
        p = np.exp((z - z.max(-1, keepdims=True)) / self.temperature)
        return np.asarray(p / p.sum(-1, keepdims=True))

    def uniform(self, position: int, column: int) -> float:
        """The random number of a position in the text, in [0, 1)."""
        return float(rng.uniforms(self.seed, (), position, 1, _REPLACE + 1)[0, column])

    def draw(self, p: Array, position: int, column: int = _DRAW) -> int:
        """A token of the distribution p (vocabulary,)."""
        sums = p.cumsum()
        return int(np.searchsorted(sums / sums[-1], self.uniform(position, column), side="right"))


def generate(
    model: LanguageModel,
    prompt: Tensor,
    new: int,
    *,
    temperature: float = 0.0,
    top_k: int | None = None,
    seed: int = 0,
    speculative: bool = False,
) -> tuple[Tensor, Statistics]:
    """Further tokens of one text.

    Args:
        model: any; with `speculative`, one with multi-token prediction.
        prompt: (1, k) tokens, k >= 1.
        new: number of further tokens, at least 1.
        temperature: divides the logits; 0 takes the likeliest token.
        top_k: likeliest tokens that are drawn from; all of them by default.
        seed: of what is drawn.
        speculative: whether the model drafts tokens for itself.

    Returns: (1, new) the further tokens, and what it took.

    Raises:
        ConfigurationError: an argument cannot be used.
    """
    _check(model, prompt, new, temperature, top_k)
    sampler = Sampler(temperature, top_k, seed)
    with torch.no_grad():
        if not speculative:
            tokens, statistics = _plain(model, prompt, new, sampler)
        elif isinstance(model, Nemotron) and model.depths:
            tokens, statistics = _speculative(model, prompt, new, sampler)
        else:
            raise ConfigurationError(
                "generate(speculative=True) needs a model with multi-token prediction (nemotron"
                f" with ahead.depths of 1 or more); got {type(model).__name__}"
            )
    return torch.tensor([tokens], device=prompt.device), statistics


def _check(
    model: LanguageModel, prompt: Tensor, new: int, temperature: float, top_k: int | None
) -> None:
    if prompt.ndim != 2 or prompt.shape[0] != 1 or not prompt.shape[1]:
        raise ConfigurationError(
            f"generate(prompt=...) must be one row of tokens, (1, k); got {tuple(prompt.shape)}"
        )
    low, high = int(prompt.min()), int(prompt.max())
    if low < 0 or high >= model.vocabulary:
        raise ConfigurationError(
            f"generate(prompt=...) must be tokens in [0, {model.vocabulary});"
            f" got {low if low < 0 else high}"
        )
    if new < 1:
        raise ConfigurationError(f"generate(new=...) must be at least 1; got {new}")
    if not 0 <= temperature < float("inf"):
        raise ConfigurationError(f"generate(temperature=...) must be at least 0; got {temperature}")
    if top_k is not None and not 1 <= top_k <= model.vocabulary:
        raise ConfigurationError(
            f"generate(top_k=...) must be in [1, {model.vocabulary}]; got {top_k}"
        )


def _plain(
    model: LanguageModel, prompt: Tensor, new: int, sampler: Sampler
) -> tuple[list[int], Statistics]:
    """A token a pass."""
    start = prompt.shape[1]
    cache = model.cache(1, start + new)
    tokens: list[int] = []
    following = prompt
    while len(tokens) < new:
        p = _next(model, following, cache, sampler)
        tokens.append(sampler.draw(p[-1], start + len(tokens)))
        following = prompt.new_tensor([tokens[-1:]])
    return tokens, Statistics(new, new, (), ())


def _next(model: LanguageModel, tokens: Tensor, cache: Cache, sampler: Sampler) -> Array:
    """Probabilities (k, vocabulary) after each of the tokens (1, k)."""
    return sampler.probabilities(model.advance(tokens, cache)[0])


def _speculative(
    model: Nemotron, prompt: Tensor, new: int, sampler: Sampler
) -> tuple[list[int], Statistics]:
    """Up to 1 + depths tokens a pass."""
    start, depths = prompt.shape[1], model.depths
    cache = model.cache(1, start + new + depths, drafting=True)
    p = _next(model, prompt, cache, sampler)
    tokens = [sampler.draw(p[-1], start)]
    passes, judged, accepted = 1, [0] * depths, [0] * depths
    while len(tokens) < new:
        position = start + len(tokens)  # of the first draft
        q: list[Array] = []
        drafts = _drafted(model, tokens[-1], cache, sampler, position, q)
        p = _next(model, prompt.new_tensor([tokens[-1:] + drafts]), cache, sampler)
        kept, other = judge(p, np.array(q), drafts, sampler, position)
        cache.rewind(1 + kept)
        tokens += [*drafts[:kept], other]
        passes += 1
        for depth in range(depths):
            judged[depth] += depth <= kept
            accepted[depth] += depth < kept
    return tokens[:new], Statistics(new, passes, tuple(judged), tuple(accepted))


def _drafted(
    model: Nemotron,
    token: int,
    cache: NemotronCache,
    sampler: Sampler,
    position: int,
    q: list[Array],
) -> list[int]:
    """A draft of each depth; appends the distributions that they are drawn from to q."""

    def choose(logits: Tensor, depth: int) -> Tensor:
        q.append(sampler.probabilities(logits[0]))
        return torch.tensor([[sampler.draw(q[-1], position + depth)]], device=logits.device)

    token_row = torch.tensor([[token]], device=model.embedding.weight.device)
    drafts: list[int] = model.draft(token_row, cache, choose)[0].tolist()
    return drafts


def judge(
    p: Array, q: Array, drafts: list[int], sampler: Sampler, position: int
) -> tuple[int, int]:
    """Algorithm 1: which drafts to keep, and the token after them, so that all are of p.

    Args:
        p: (depths + 1, vocabulary) distributions of the model, at the drafts and after them.
        q: (depths, vocabulary) those that the drafts were drawn from.
        drafts: (depths,). sampler: whose random numbers are used.
        position: of the first draft in the text.

    Returns: number of drafts kept, and the token after them.
    """
    for depth, draft in enumerate(drafts):
        ratio = p[depth, draft] / q[depth, draft]
        if sampler.uniform(position + depth, _ACCEPT) >= ratio:
            rest = np.maximum(p[depth] - q[depth], 0)
            return depth, sampler.draw(rest, position + depth, _REPLACE)
    after = len(drafts)
    return after, sampler.draw(p[after], position + after, _REPLACE)
