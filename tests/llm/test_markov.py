"""The Markov source: its entropy is that of the probabilities that its bytes are drawn with."""

import itertools
import math

import numpy as np
import pytest

from evoopt.errors import ConfigurationError
from evoopt_llm.markov import Source

SOURCES = [(2, 0, 1), (16, 1, 1), (32, 0, 2), (3, 5, 4), (256, 2, 1)]  # states, seed, order


def naive_entropy(source: Source) -> float:
    """By walking the distribution over the last bytes 400 steps forward, one context at a time."""
    contexts = list(itertools.product(range(source.states), repeat=source.order))
    rows = dict(zip(contexts, (source.ticks / 4096).tolist(), strict=True))
    shares = dict.fromkeys(contexts, 1 / len(contexts))
    for _ in range(400):
        after = dict.fromkeys(contexts, 0.0)
        for context, share in shares.items():
            for byte, p in enumerate(rows[context]):
                after[(*context[1:], byte)] += share * p
        shares = after
    return -sum(
        share * p * math.log2(p) for context, share in shares.items() for p in rows[context]
    )


@pytest.mark.parametrize("arguments", [(2, 0, 1), (5, 1, 1), (3, 5, 3)])
def test_the_entropy_rate_is_that_of_the_distribution_that_walking_forward_settles_on(arguments):
    source = Source(*arguments)
    assert source.entropy_bits == pytest.approx(naive_entropy(source), rel=1e-12)


def test_two_states_have_the_entropy_that_a_closed_formula_gives():
    source = Source(2, 3)
    away, back = source.ticks[0, 1] / 4096, source.ticks[1, 0] / 4096

    def of_a_coin(p: float) -> float:
        return -p * math.log2(p) - (1 - p) * math.log2(1 - p)

    expected = (back * of_a_coin(away) + away * of_a_coin(back)) / (away + back)
    assert source.entropy_bits == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("arguments", SOURCES)
def test_each_row_of_probabilities_is_whole_and_leaves_no_byte_out(arguments):
    ticks = Source(*arguments).ticks
    assert (ticks.sum(axis=1) == 4096).all()
    assert ticks.min() >= 1


@pytest.mark.parametrize("arguments", SOURCES)
def test_the_stationary_distribution_is_one_that_a_step_leaves_alone(arguments):
    source = Source(*arguments)
    after = np.zeros(source.contexts)
    for context, row in enumerate(source.ticks / 4096):
        for byte, p in enumerate(row):
            after[(context * source.states + byte) % source.contexts] += (
                source.stationary[context] * p
            )
    np.testing.assert_allclose(after, source.stationary, rtol=0, atol=1e-14)
    assert source.stationary.sum() == pytest.approx(1, rel=1e-13)


@pytest.mark.parametrize("arguments", SOURCES)
def test_what_is_drawn_costs_the_entropy_rate(arguments):
    """The mean of 200 blocks lies within 5 of its standard errors: a false alarm in 1 of 10^5."""
    source = Source(*arguments)
    blocks = np.array([source.bits_per_byte(b) for b in source.draw(200_000).reshape(200, 1000)])
    assert abs(blocks.mean() - source.entropy_bits) < 5 * blocks.std() / math.sqrt(200)


def test_bytes_follow_each_context_as_often_as_its_probabilities_say():
    """Pearson's statistic over 4 * 3^2 cells of 27 free ones: above 90 in 1 of 10^8 cases."""
    source = Source(3, 7, order=2)
    drawn = source.draw(100_000).tolist()
    seen = np.zeros((9, 3))
    for older, old, new in zip(drawn, drawn[1:], drawn[2:], strict=False):
        seen[3 * older + old, new] += 1
    expected = seen.sum(axis=1, keepdims=True) * source.ticks / 4096
    assert ((seen - expected) ** 2 / expected).sum() < 90


def test_the_first_byte_is_as_likely_as_any_other():
    """Of 1000 sources, it is the one that is most frequent as often as their stationary
    distributions say, within five standard deviations: a false alarm in 1 of 10^6."""
    sources = [Source(4, seed) for seed in range(1000)]
    p = np.array([source.stationary.max() for source in sources])
    hits = sum(source.draw(1)[0] == source.stationary.argmax() for source in sources)
    assert abs(hits - p.sum()) < 5 * math.sqrt((p * (1 - p)).sum())


def test_a_longer_draw_begins_with_a_shorter_one(monkeypatch):
    monkeypatch.setattr("evoopt_llm.markov._CHUNK", 2048)
    long = Source(8, 0).draw(7000)
    for n in (0, 1, 1023, 1024, 2048, 2049, 6999):
        assert Source(8, 0).draw(n).tobytes() == long[:n].tobytes()


def test_chunks_join_without_a_seam(monkeypatch):
    whole = Source(8, 0, 2).draw(7000)
    monkeypatch.setattr("evoopt_llm.markov._CHUNK", 1024)
    assert Source(8, 0, 2).draw(7000).tobytes() == whole.tobytes()


def test_another_seed_is_another_source():
    assert len({Source(16, seed).entropy_bits for seed in range(20)}) == 20


def test_the_source_of_a_seed_stays_what_it_was():
    """Recorded with numpy 2.4 on x86-64: losses on this source are compared between versions."""
    source = Source(16, 0)
    assert source.entropy_bits == pytest.approx(2.3237911565574683, rel=1e-12)
    assert source.draw(5).tolist() == [13, 12, 14, 5, 9]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 0), r"Source\(states=\.\.\.\) must be 2 to 256; got 1"),
        ((257, 0), r"Source\(states=\.\.\.\) must be 2 to 256; got 257"),
        ((16, 0, 0), r"Source\(order=\.\.\.\) must be at least 1 .* got order 0"),
        ((16, 0, 3), r"at most 1024; got order 3 with 16 states"),
    ],
)
def test_a_source_that_cannot_be_is_refused_in_one_line(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        Source(*arguments)
