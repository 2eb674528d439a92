"""Laws of the archive, and its equality with two packages that do the same."""

import copy
import math
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moarchiving import BiobjectiveNondominatedSortedList, get_mo_archive

from evoopt import hypervolume as volumes
from evoopt import staircase
from evoopt.archive import Archive, BiobjectiveArchive, ManyObjectiveArchive
from evoopt.errors import ConfigurationError, MissingDependencyError
from evoopt.rundir import codec

moocore = pytest.importorskip("moocore")

GRID = 2.0**-11  # on it sums of areas are exact in double precision, in whatever order
UNITS = 2**160  # in 1; the numbers below 1 of these tests have no finer digits
BEYOND = np.array([1.0, 0.75])  # some points of `offered` lie beyond it


def offered(rows):
    """(rows, 2) on a grid: ever nearer to a front, with ties, copies, NaN and infinities."""
    rng = np.random.default_rng(7)
    at = rng.random(rows)
    away = rng.exponential(0.2, (rows, 2)) * np.linspace(1.0, 0.005, rows)[:, None]
    F = np.column_stack((at, 1 - np.sqrt(at))) + away
    F = np.round(F / GRID) * GRID
    copies = rng.integers(rows, size=rows // 20)
    F[copies] = F[rng.permutation(copies)]
    odd = rng.integers(rows, size=(3, rows // 100))
    F[odd[0], 0], F[odd[1], 1], F[odd[2], 1] = np.nan, np.inf, -np.inf
    return F


def spread(rows, seed=3):
    """(rows, 2) mutually non-dominated, in random order."""
    f1 = np.random.default_rng(seed).permutation(np.linspace(0, 1, rows) ** 1.5)
    return np.column_stack((f1, 1 - np.sqrt(f1)))


def filled(F, reference=None, archive=None):
    archive = Archive.empty(F.shape[1], reference) if archive is None else archive
    for tag, f in enumerate(F):
        archive.add(f, tag)
    return archive


def exact_volume(F, reference):
    """Of a front inside the reference point, in whole numbers of a tiny unit."""
    whole = [[whole_number(v) for v in column] for column in (*F.T.tolist(), reference.tolist())]
    f1, f2, (r1, r2) = whole
    area = sum((end - a) * (r2 - b) for a, end, b in zip(f1, [*f1[1:], r1], f2, strict=True))
    return Fraction(area, UNITS**2)


def whole_number(v):
    numerator, denominator = v.as_integer_ratio()
    assert denominator <= UNITS
    return numerator * (UNITS // denominator)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 2 to 4, so that small archives have many."""
    monkeypatch.setattr(staircase, "_MOST", 4)


def test_1e5_insertions_with_ties_copies_nan_and_inf_equal_moarchiving():
    F = offered(100_000)
    oracle = BiobjectiveNondominatedSortedList(reference_point=None)
    ours = Archive.empty(2, BEYOND)
    members = {}
    for tag, f in enumerate(F.tolist()):
        removed = ours.add(f, tag)
        entered = all(map(math.isfinite, f)) and oracle.add(f) is not None
        assert (removed is not None) == entered
        if entered:
            for gone in removed:
                del members[gone]
            members[tag] = f
    assert len(ours) > 300
    assert ours.F.tolist() == list(oracle)
    assert [members[tag] for tag in ours.tags.tolist()] == list(oracle)
    inside = BiobjectiveNondominatedSortedList(list(oracle), reference_point=BEYOND)
    assert ours.hypervolume == float(inside.hypervolume)
    contributions = dict(zip(map(tuple, inside), inside.contributing_hypervolumes, strict=True))
    expected = [float(contributions.get(tuple(f), 0)) for f in ours.F.tolist()]
    assert ours.contributions.tolist() == expected


def test_1e5_insertions_with_ties_copies_nan_and_inf_equal_moocore():
    F = offered(100_000)
    ours = filled(F, BEYOND)
    finite = F[np.isfinite(F).all(axis=1)]
    front = finite[moocore.is_nondominated(finite, keep_weakly=False)]
    assert ours.F.tolist() == sorted(front.tolist())
    assert ours.hypervolume == moocore.hypervolume(finite, ref=BEYOND)
    inside = (ours.F < BEYOND).all(axis=1)
    assert 0 < inside.sum() < len(inside)
    np.testing.assert_array_equal(
        ours.contributions[inside], moocore.hv_contributions(ours.F[inside], ref=BEYOND)
    )
    assert not ours.contributions[~inside].any()
    np.testing.assert_array_equal(ours.worst, finite.max(axis=0))
    np.testing.assert_array_equal(ours.ideal, front.min(axis=0))
    np.testing.assert_array_equal(ours.nadir, front.max(axis=0))


@pytest.mark.parametrize("scale", [1.0, 1e-7])
def test_the_hypervolume_after_1e5_local_updates_is_exact_to_1e_12(scale):
    reference = np.array([1.1, 1.05]) * scale
    archive = filled(spread(100_000) * scale, reference)
    exact = exact_volume(archive.F, reference)
    # in fact to a few units of the last place
    assert abs(Fraction(archive.hypervolume) - exact) < exact * Fraction(1e-14)
    assert abs(Fraction(archive.hypervolume_for(reference)) - exact) < exact * Fraction(1e-14)


ALONG = st.tuples(st.integers(0, 30), st.integers(0, 12))  # a front that moves, some of it far off
ROWS = st.lists(ALONG.map(lambda at: (at[0], 30 - at[0] + at[1])), min_size=1, max_size=80)
BOX = np.array([25.0, 28.0])


@given(rows=ROWS)
@pytest.mark.usefixtures("small_blocks")
def test_each_insertion_does_what_the_definition_says(rows):
    archive = BiobjectiveArchive(BOX)
    members = {}
    for tag, (a, b) in enumerate(rows):
        beaten = any(c <= a and d <= b for c, d in members.values())
        worse = [old for old, (c, d) in members.items() if a <= c and b <= d]
        before, promised = archive.hypervolume, archive.improvement((a, b))
        removed = archive.add((a, b), tag)
        if beaten:
            assert removed is None
            assert promised <= 0
        else:
            assert removed == sorted(worse, key=members.get)
            members = {old: f for old, f in members.items() if old not in worse} | {tag: (a, b)}
            assert max(promised, 0) == archive.hypervolume - before
        order = sorted(members, key=members.get)
        assert archive.tags.tolist() == order
        assert archive.F.tolist() == [list(members[tag]) for tag in order]
        assert archive.hypervolume == archive.hypervolume_for(BOX)
        assert archive.extremes == (order[0], order[-1])
        padded = [None, *order, None]
        assert [archive.neighbours(tag) for tag in order] == list(
            zip(padded[:-2], padded[2:], strict=True)
        )
        assert [archive.contribution(tag) for tag in order] == archive.contributions.tolist()


@given(rows=ROWS, power=st.sampled_from([1.0, 3.0]), with_reference=st.booleans())
@pytest.mark.usefixtures("small_blocks")
def test_interior_members_are_drawn_in_proportion_to_a_power_of_their_contributions(
    rows, power, with_reference
):
    archive = BiobjectiveArchive(BOX if with_reference else None, power)
    filled(np.array(rows, dtype=float), archive=archive)
    if len(archive) < 3:
        with pytest.raises(ConfigurationError, match="interior"):
            archive.draw(0.5)
        return
    weights = archive.contributions[1:-1] ** power
    shares = weights / weights.sum() if weights.sum() else np.full(len(weights), 1 / len(weights))
    draws = 2000  # evenly spread: each member gets its share, but for one draw at each end
    drawn = [archive.draw((i + 0.5) / draws) for i in range(draws)]
    counts = [drawn.count(tag) for tag in archive.tags[1:-1].tolist()]
    assert sum(counts) == draws
    np.testing.assert_allclose(counts, shares * draws, atol=1)
    assert archive.contributions[archive.tags.tolist().index(archive.draw(1 - 2**-53))] >= 0


def test_draws_follow_the_contributions_after_1e5_insertions_and_removals():
    archive = filled(offered(100_000) / GRID)  # weights are whole numbers below 2**53: exact
    weights = archive.contributions[1:-1] ** 3
    ends = np.cumsum(weights) / weights.sum()
    tags = archive.tags[1:-1]
    for u in np.random.default_rng(1).random(2000):
        assert archive.draw(u) == tags[np.searchsorted(ends, u, side="right")]


@pytest.mark.parametrize("scale", [1e-150, 1e150], ids=["vanish", "overflow"])
def test_members_are_drawn_alike_where_their_weights(scale):
    archive = filled(spread(6) * scale)
    drawn = [archive.draw((i + 0.5) / 400) for i in range(400)]
    assert [drawn.count(tag) for tag in archive.tags[1:-1].tolist()] == [100] * 4


def test_the_extremes_contribute_inf_without_a_reference_and_no_hypervolume_is_known():
    archive = filled(spread(5))
    assert math.isnan(archive.hypervolume)
    assert archive.contributions[[0, -1]].tolist() == [math.inf] * 2
    assert archive.contribution(archive.extremes[0]) == math.inf
    assert archive.improvement((-1.0, 5.0)) == math.inf


@pytest.mark.parametrize("n_obj", [2, 3])
def test_a_row_that_is_not_finite_changes_nothing(n_obj):
    archive = filled(np.eye(n_obj), np.full(n_obj, 2.0))
    before = codec.pack(copy.deepcopy(archive))
    for odd in (math.nan, math.inf, -math.inf):
        assert archive.add([-1.0] * (n_obj - 1) + [odd], 9) is None
        assert archive.improvement([-1.0] * (n_obj - 1) + [odd]) == -math.inf
    assert repr(codec.pack(archive)) == repr(before)


@pytest.mark.parametrize("n_obj", [2, 3])
def test_the_tag_of_a_member_cannot_be_given_again(n_obj):
    archive = filled(np.eye(n_obj))
    with pytest.raises(ConfigurationError, match="got 1 again"):
        archive.add([-1.0] * n_obj, 1)


@pytest.mark.parametrize("n_obj", [2, 3])
def test_an_empty_archive_has_no_range_and_improves_by_the_box(n_obj):
    archive = Archive.empty(n_obj, np.full(n_obj, 2.0))
    assert len(archive) == len(archive.F) == len(archive.tags) == len(archive.contributions) == 0
    assert archive.F.shape == (0, n_obj)
    assert archive.ideal.tolist() == [math.inf] * n_obj
    assert archive.nadir.tolist() == archive.worst.tolist() == [-math.inf] * n_obj
    assert archive.hypervolume == 0.0
    assert archive.improvement([0.0] * n_obj) == 2.0**n_obj
    assert archive.improvement([5.0] + [0.0] * (n_obj - 1)) == -3.0


@pytest.mark.parametrize("reference", [[1.0], [1.0, math.nan], [1.0, 2.0, 3.0]])
def test_a_reference_point_of_another_kind_is_refused(reference):
    with pytest.raises(ConfigurationError, match="must be 2 finite numbers"):
        Archive.empty(2, np.array(reference))


@pytest.mark.parametrize("n_obj", [2, 3])
@pytest.mark.usefixtures("small_blocks")
def test_a_stored_archive_goes_on_with_the_same_bits(n_obj):
    rng = np.random.default_rng(5)
    nearer = np.linspace(0.1, 0, 400)[:, None]
    F = rng.dirichlet([1] * n_obj, 400) + rng.random((400, n_obj)) * nearer
    archive = filled(F[:200], np.full(n_obj, 1.5))
    classes = {c.__name__: c for c in (BiobjectiveArchive, ManyObjectiveArchive)}
    stored = codec.unpack(*codec.pack(archive), classes)
    twin = copy.deepcopy(archive)
    for tag, f in enumerate(F[200:], start=200):
        results = {repr(each.add(f, tag)) for each in (archive, stored, twin)}
        assert len(results) == 1
        if n_obj == 2 and len(archive) > 2:
            u = rng.random()
            assert archive.draw(u) == stored.draw(u) == twin.draw(u)
        assert archive.hypervolume.hex() == stored.hypervolume.hex() == twin.hypervolume.hex()
    assert repr(codec.pack(archive)) == repr(codec.pack(stored)) == repr(codec.pack(twin))


@pytest.mark.parametrize("n_obj", [2, 3])
def test_a_copy_is_independent(n_obj):
    archive = filled(np.eye(n_obj), np.full(n_obj, 2.0))
    twin = copy.deepcopy(archive)
    assert twin.add([0.0] * n_obj, 9) is not None
    assert archive.tags.tolist() == list(range(n_obj))[::-1]
    assert archive.hypervolume < twin.hypervolume
    assert archive.worst.tolist() == [1.0] * n_obj


@pytest.mark.usefixtures("small_blocks")
def test_the_uncrowded_improvement_equals_that_of_moarchiving():
    F = spread(100) + np.random.default_rng(2).random((100, 2)) / 50
    reference = [1.2, 1.1]
    ours = filled(F, np.array(reference))
    theirs = BiobjectiveNondominatedSortedList(F.tolist(), reference_point=reference)
    points = np.random.default_rng(4).uniform(-0.2, 1.5, (2000, 2))
    found = [ours.improvement(f) for f in points]
    expected = [float(theirs.hypervolume_improvement(f)) for f in points.tolist()]
    assert min(found) < 0 < max(found)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_three_objectives_equal_moarchiving():
    rng = np.random.default_rng(6)
    F = rng.dirichlet([1, 1, 1], 300) * 40 + rng.exponential(2, (300, 3))
    reference = [38.0, 35.0, 37.5]
    ours = filled(F, np.array(reference))
    theirs = get_mo_archive(n_obj=3, reference_point=reference)
    for f in F.tolist():
        theirs.add(f)
    inside = (ours.F < reference).all(axis=1)
    assert 50 < inside.sum() < len(ours)
    assert sorted(ours.F[inside].tolist()) == sorted(map(list, theirs))
    assert ours.hypervolume == pytest.approx(float(theirs.hypervolume), rel=1e-13)
    # beyond the reference point, and among ties, its distances in three objectives are too long
    points = rng.uniform(-1, 35.0, (200, 3))
    expected = [float(theirs.hypervolume_improvement(f)) for f in points.tolist()]
    assert min(expected) < 0 < max(expected)
    # the gain is the difference of two volumes of up to 6e4
    np.testing.assert_allclose([ours.improvement(f) for f in points], expected, atol=1e-10)


def test_the_contributions_of_three_objectives_are_what_the_hypervolume_would_lose():
    F = np.random.default_rng(8).dirichlet([1, 1, 1], 12)
    reference = np.array([0.7, 0.8, 0.9])
    archive = filled(F, reference)
    without = [volumes.hypervolume(np.delete(archive.F, i, axis=0), reference) for i in range(12)]
    # the difference of two volumes is exact to a few units of theirs
    np.testing.assert_allclose(archive.hypervolume - archive.contributions, without, atol=1e-15)
    assert np.isnan(filled(F).contributions).all()


@given(rows=st.lists(st.tuples(*[st.integers(0, 4)] * 4), min_size=1, max_size=25))
def test_insertions_with_four_objectives_do_what_the_definition_says(rows):
    archive = ManyObjectiveArchive(4, np.full(4, 3.5))
    members = {}
    for tag, f in enumerate(rows):
        beaten = any(all(c <= a for a, c in zip(f, g, strict=True)) for g in members.values())
        worse = [
            old for old, g in members.items() if all(a <= c for a, c in zip(f, g, strict=True))
        ]
        assert archive.add(f, tag) == (None if beaten else worse)
        assert archive.hypervolume == archive.hypervolume_for(archive.reference)
        if not beaten:
            members = {old: g for old, g in members.items() if old not in worse} | {tag: f}
    order = sorted(members, key=members.get)
    assert archive.tags.tolist() == order
    assert archive.F.tolist() == [list(members[tag]) for tag in order]


def test_the_distance_to_a_front_is_the_least_over_all_steps():
    rng = np.random.default_rng(9)
    for _ in range(200):
        F = np.round(rng.dirichlet([1, 1, 1], 15) * 16) / 32
        f = np.round(rng.random(3) * 16) / 32
        sides = [np.unique(np.maximum(np.append(f[j] - F[:, j], 0.0), 0.0)) for j in range(3)]
        steps = np.stack(np.meshgrid(*sides), axis=-1).reshape(-1, 3)
        free = ((f - steps)[:, None, :] <= F).any(axis=2).all(axis=1)
        assert volumes.distance(f, F) == math.sqrt((steps[free] ** 2).sum(axis=1).min())


def test_three_objectives_without_moocore_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "moocore", None)
    archive = filled(np.eye(3), np.full(3, 2.0))
    assert len(archive) == 3
    with pytest.raises(MissingDependencyError, match=r"pip install '\.\[hv\]'"):
        _ = archive.hypervolume
