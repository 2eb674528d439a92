"""What the tests of the trainer share: one thread in torch, a small corpus, and `reference_*`, the
literal transcriptions beside this file, importable."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    from evoopt_llm.corpus import Corpus

HERE = str(Path(__file__).resolve().parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)

torch.set_num_threads(1)  # two cores carry as many workers of pytest-xdist


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder where the tiny corpus is kept."""
    return str(tmp_path_factory.mktemp("corpora"))


@pytest.fixture(scope="session")
def tiny_corpus(tiny_cache: str) -> Corpus:
    """200 kB of a Markov source of 16 byte values: its entropy rate is a bound on every loss."""
    from evoopt_llm.corpus import DataSettings, open_corpus

    return open_corpus(DataSettings(kind="markov", states=16, size=200_000, cache=tiny_cache))
