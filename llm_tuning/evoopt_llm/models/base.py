"""What every model does: next-token logits, the terms of its loss, and decoding with a cache.

Tokens are whole numbers below the vocabulary, int64; losses are in nats a token. Matrices are the
weights of `torch.nn.Linear` (out, in) wherever a precision policy shall find them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

Kind = Literal["embedding", "head", "matrix", "scalar"]  # of a parameter: groups of an optimizer


class Losses(NamedTuple):
    """Of one batch, each a scalar, in nats a token.

    Attributes:
        main: mean cross-entropy of the next token; what is reported.
        total: what is differentiated: main, and the weighted other terms.
        parts: the other terms by name, unweighted and detached.
    """

    main: Tensor
    total: Tensor
    parts: dict[str, Tensor]


class Cache(ABC):
    """What a model keeps of the tokens so far while it generates."""

    @property
    @abstractmethod
    def length(self) -> int:
        """Tokens so far."""

    @abstractmethod
    def rewind(self, kept: int) -> None:
        """Forget the tokens of the last `advance` but its first `kept` ones, 0 <= kept <= k."""

    @property
    @abstractmethod
    def size_bytes(self) -> int:
        """Bytes of state that hold the tokens so far, of one sequence."""


class LanguageModel(nn.Module, ABC):
    """A model of sequences of tokens.

    Attributes:
        vocabulary: number of tokens. context: longest sequence that it is trained on.
    """

    vocabulary: int
    context: int

    @abstractmethod
    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (batch, length, vocabulary) of the token after each of tokens (batch, length)."""

    def losses(self, windows: Tensor) -> Losses:
        """Of windows (batch, length + 1): each token is predicted from those before it."""
        main = cross_entropy(self(windows[:, :-1]), windows[:, 1:])
        return Losses(main, main, {})

    def after_step(self) -> None:
        """Called after each step of the optimizer: what the model keeps true of its weights."""

    @abstractmethod
    def cache(self, batch: int, most: int) -> Cache:
        """An empty cache for `batch` sequences of up to `most` tokens."""

    @abstractmethod
    def advance(self, tokens: Tensor, cache: Cache) -> Tensor:
        """Logits (batch, k, vocabulary) after each of k further tokens (batch, k), which enter the
        cache."""

    @abstractmethod
    def kinds(self) -> dict[str, Kind]:
        """Of each parameter, by its name in `named_parameters`."""

    @abstractmethod
    def flops(self, length: int) -> int:
        """Floating-point operations a token of a sequence of this length costs in training: two for
        each multiplication and addition, backward twice forward."""


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over all tokens, in nats, in float32. logits: (..., vocabulary); targets: (...)."""
    flat = logits.reshape(-1, logits.shape[-1]).float()
    return functional.cross_entropy(flat, targets.reshape(-1))


def seeded(seed: int) -> torch.Generator:
    """A generator of its own on the CPU, where weights are drawn whatever the device."""
    return torch.Generator().manual_seed(seed)
