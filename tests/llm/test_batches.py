"""Windows: an epoch predicts every byte once, in an order that the seed and the step name alone."""

import lzma
import math
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoopt.errors import ConfigurationError
from evoopt_llm import batches
from evoopt_llm.batches import (
    compressed_bits_per_byte,
    permuted,
    train_windows,
    valid_windows,
    windows_in_epoch,
)
from evoopt_llm.corpus import Corpus

KEYS = np.arange(8, dtype=np.uint64)


def counting(train: int, valid: int) -> Corpus:
    """Bytes that tell where they lie, as long as two of them are read: 65536 places."""

    def places(n: int) -> np.ndarray:
        return np.arange(n, dtype=">u2").view(np.uint8)

    return Corpus("counting", places(train // 2), places(valid // 2), "", ())


def starts_of(windows: np.ndarray) -> np.ndarray:
    """Where windows of `counting` begin: the number in their first two whole bytes."""
    even = windows[:, 0:2].astype(int) @ [256, 1]  # begins with the high byte
    shifted = windows[:, 1:3].astype(int) @ [256, 1]
    for row, (first, second) in enumerate(zip(even, shifted, strict=True)):
        numbers = [windows[row, i : i + 2].astype(int) @ [256, 1] for i in (0, 2, 4)]
        aligned = numbers == [first, first + 1, first + 2]
        even[row] = 2 * first if aligned else 2 * second - 1
    return even


def epoch_of(corpus: Corpus, context: int, seed: int, epoch: int) -> np.ndarray:
    count = windows_in_epoch(corpus, context)
    return train_windows(corpus, epoch, count, context, seed)


def test_an_epoch_predicts_each_byte_once_but_for_less_than_two_windows():
    corpus, context = counting(20_000, 100), 64
    for epoch in range(4):
        starts = starts_of(epoch_of(corpus, context, 0, epoch))
        ordered = np.sort(starts)
        assert (np.diff(ordered) == context).all()
        assert ordered[0] < context
        unpredicted = len(corpus.train) - context * len(starts)
        assert len(starts) == (len(corpus.train) - context) // context
        assert context <= unpredicted < 2 * context
        assert ordered[-1] + context < len(corpus.train)


def test_windows_are_the_bytes_at_their_place():
    corpus = counting(4000, 100)
    windows = train_windows(corpus, 3, 8, 32, 5)
    data = corpus.train.tolist()
    assert windows.shape == (8, 33)
    assert windows.dtype == np.uint8
    for window, start in zip(windows, starts_of(windows), strict=True):
        assert window.tolist() == data[start : start + 33]


def test_epochs_have_other_orders_and_offsets():
    corpus = counting(20_000, 100)
    epochs = [starts_of(epoch_of(corpus, 64, 0, epoch)) for epoch in range(20)]
    assert len({int(starts.min()) for starts in epochs}) > 10
    orders = {tuple((starts // 64).tolist()) for starts in epochs}
    assert len(orders) == 20


def test_the_step_is_the_whole_position(tiny_corpus):
    """However it is cut into batches, training meets the same windows in the same order."""
    whole = train_windows(tiny_corpus, 0, 24 * 200, 64, 9)  # more than an epoch
    assert windows_in_epoch(tiny_corpus, 64) < len(whole)
    for batch in (1, 8, 24, 200):
        for step in (0, 1, len(whole) // batch - 1):
            rows = whole[step * batch : (step + 1) * batch]
            assert train_windows(tiny_corpus, step, batch, 64, 9).tobytes() == rows.tobytes()


def test_another_seed_is_another_order(tiny_corpus):
    seeds = {train_windows(tiny_corpus, 0, 4, 64, seed).tobytes() for seed in range(50)}
    assert len(seeds) == 50


def test_windows_may_be_written_to_and_the_corpus_stays_as_it_was(tiny_corpus):
    before = tiny_corpus.train[:1000].tobytes(), tiny_corpus.valid[:1000].tobytes()
    train_windows(tiny_corpus, 0, 100, 64, 0)[:] = 0
    valid_windows(tiny_corpus, 64, 10)[:] = 0
    assert before == (tiny_corpus.train[:1000].tobytes(), tiny_corpus.valid[:1000].tobytes())


@given(st.integers(1, 3000), st.lists(st.integers(0, 2**53 - 1), min_size=8, max_size=8))
def test_the_permutation_meets_every_place_once(count, keys):
    sent = permuted(np.arange(count), count, np.array(keys, dtype=np.uint64))
    assert sorted(sent.tolist()) == list(range(count))


@pytest.mark.parametrize("count", [2**20, 2**20 + 1, 10**12 + 39, 2**62 - 1])
def test_the_permutation_of_many_places_never_sends_two_to_one(count):
    places = np.unique(np.linspace(0, count - 1, 5000).astype(np.int64).clip(0, count - 1))
    sent = permuted(places, count, KEYS)
    assert len(set(sent.tolist())) == len(places)
    assert sent.min() >= 0
    assert sent.max() < count


@pytest.mark.parametrize("count", [7, 100])
def test_a_place_is_sent_anywhere_with_equal_probability(count):
    """Pearson's statistic of 1500 permutations lies within 5 standard deviations of its mean."""
    random = np.random.default_rng(count)
    for place in (0, count // 2, count - 1):
        seen = np.zeros(count)
        for keys in random.integers(0, 2**53, (1500, 8), dtype=np.uint64):
            seen[permuted(np.array([place]), count, keys)[0]] += 1
        expected = 1500 / count
        statistic = ((seen - expected) ** 2).sum() / expected
        assert abs(statistic - (count - 1)) < 5 * math.sqrt(2 * (count - 1))


def test_two_places_are_sent_anywhere_with_equal_probability():
    """Pearson's statistic over the 240 ordered pairs of 16 windows, in 3000 epochs, lies within 5
    standard deviations of its mean, whether the places differ in a high bit or in a low one."""
    corpus = counting(16 * 16 + 16, 100)
    seen = np.zeros((2, 16, 16))
    for epoch in range(3000):
        order = starts_of(epoch_of(corpus, 16, 0, epoch)[[0, 1, 4]]) // 16
        for pair, other in enumerate(order[1:]):
            seen[pair, order[0], other] += 1
    expected = 3000 / 240
    for pairs in seen:
        statistic = ((pairs - expected) ** 2)[~np.eye(16, dtype=bool)].sum() / expected
        assert abs(statistic - 239) < 5 * math.sqrt(2 * 239)


def test_neighbours_in_the_order_are_not_neighbours_in_the_text():
    """The steps between them have the mean and the mean square of those of a random order, within
    five standard errors: a false alarm in 1 of 10^6."""
    n = 50_000
    steps = np.diff(permuted(np.arange(n), n, KEYS)).astype(float) / n
    assert abs(np.abs(steps).mean() - 1 / 3) < 5 * math.sqrt(1 / 18 / n)
    assert abs((steps**2).mean() - 1 / 6) < 5 * math.sqrt(7 / 180 / n)


def test_bits_are_mixed_as_splitmix64_mixes_them():
    """The first three outputs of the generator with seed 0, known from its reference code."""
    gamma = 0x9E3779B97F4A7C15
    counter = np.array([gamma * i % 2**64 for i in (1, 2, 3)], dtype=np.uint64)
    known = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert batches._mixed(counter).tolist() == known


def test_all_held_out_windows_together_predict_each_byte_once(tiny_corpus):
    windows = valid_windows(tiny_corpus, 48)
    predicted = windows[:, 1:].reshape(-1)
    assert predicted.tobytes() == tiny_corpus.valid[1 : len(predicted) + 1].tobytes()
    assert len(tiny_corpus.valid) - 1 - len(predicted) < 48


@pytest.mark.parametrize("count", [1, 2, 7, 100, 155, 156])
def test_held_out_windows_are_evenly_spaced_and_apart(count):
    starts = starts_of(valid_windows(counting(1000, 10_000), 64, count))
    gaps = np.diff(starts)
    assert starts[0] == 0
    assert (starts % 64 == 0).all()
    assert (gaps >= 64).all()
    assert (abs(gaps - 64 * 156 / count) < 64).all()  # there are 156


def test_xz_needs_what_its_program_writes(tiny_corpus, tmp_path):
    if (program := shutil.which("xz")) is None:
        pytest.skip("the program xz is not installed")
    tiny_corpus.valid.tofile(tmp_path / "valid")
    subprocess.run([program, "-9", "-T1", tmp_path / "valid"], check=True)
    bits = 8 * (tmp_path / "valid.xz").stat().st_size / len(tiny_corpus.valid)
    assert compressed_bits_per_byte(tiny_corpus.valid) == bits


def test_xz_does_not_beat_the_entropy_of_a_source(tiny_corpus):
    from evoopt_llm.markov import Source

    assert compressed_bits_per_byte(tiny_corpus.valid) > Source(16, 0).entropy_bits


def test_a_compressor_that_has_seen_the_bytes_needs_almost_none():
    random = np.random.default_rng(0).integers(0, 256, 50_000, dtype=np.uint8)
    assert compressed_bits_per_byte(random) > 8
    assert compressed_bits_per_byte(random, before=random) < 0.15  # matches of up to 273 bytes
    alone = len(lzma.compress(random.tobytes(), preset=9))
    assert compressed_bits_per_byte(random) == 8 * alone / 50_000


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: train_windows(c, -1, 4, 64, 0), r"train_windows\(step=\.\.\.\) .* got -1"),
        (lambda c: train_windows(c, 0, 0, 64, 0), r"train_windows\(batch=\.\.\.\) .* got 0"),
        (lambda c: train_windows(c, 0, 4, 0, 0), r"train_windows\(context=\.\.\.\) .* got 0"),
        (lambda c: train_windows(c, 0, 4, 501, 0), r"fit twice into the 1000 .* got 501"),
        (lambda c: valid_windows(c, 0, 1), r"valid_windows\(context=\.\.\.\) .* got 0"),
        (lambda c: valid_windows(c, 64, 0), r"valid_windows\(count=\.\.\.\) .* got 0"),
        (lambda c: valid_windows(c, 64, 2), r"must be 1 to 1, as counting holds .* got 2"),
        (lambda c: valid_windows(c, 64 + 36), r"must be 1 to 0, as counting holds .* got 0"),
    ],
)
def test_windows_that_cannot_be_cut_are_refused_in_one_line(call, message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        call(counting(1000, 100))
    assert "\n" not in str(caught.value)


def test_the_longest_context_that_fits_is_cut():
    assert train_windows(counting(1000, 100), 5, 2, 500, 0).shape == (2, 501)
