"""Mamba-2: chunks, recurrence and the naive scan are one; its memory, and its first numbers."""

import numpy as np
import pytest
import reference_nemotron as reference
import torch
from torch.nn import functional

from evoopt.errors import ConfigurationError
from evoopt_llm.models.base import seeded
from evoopt_llm.models.mamba2 import Mamba2, MambaSettings
from evoopt_llm.models.ssd import Scan, convolved, ssd, state_after, steps

DIM = 12
SMALL = {"heads": 4, "head_dim": 3, "state": 5, "chunk": 4}


def drawn(batch, length, *, heads=4, p=3, groups=2, n=5, seed=1):
    """Inputs of the recurrence, and x, dt, A of which they are made."""
    g = seeded(seed)
    x, B, C = (
        torch.randn(batch, length, *shape, generator=g, dtype=torch.float64)
        for shape in ((heads, p), (groups, n), (groups, n))
    )
    dt = torch.rand(batch, length, heads, generator=g, dtype=torch.float64)
    A = 2 * torch.rand(heads, generator=g, dtype=torch.float64)
    return Scan(x * dt[..., None], -dt * A, B, C), (x, dt, A)


def layer(seed=3, **options):
    """In double, its scalars no longer those of the start."""
    g = seeded(seed)
    mixer = Mamba2(DIM, MambaSettings(**{**SMALL, **options}))
    mixer.draw(0.5, 0.5, g)
    with torch.no_grad():
        for weight in (mixer.D, mixer.gain, mixer.dt_bias):
            weight += torch.randn(weight.shape, generator=g)
    return mixer.double()


def inputs(batch=2, length=11):
    return torch.randn(batch, length, DIM, generator=seeded(5), dtype=torch.float64)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(("length", "chunk"), [(1, 4), (3, 4), (8, 4), (11, 4), (11, 16), (9, 1)])
@pytest.mark.parametrize("started", [False, True])
def test_chunks_equal_the_naive_scan(groups, length, chunk, started):
    scan, (x, dt, A) = drawn(2, length, groups=groups)
    state = torch.randn(2, 4, 3, 5, generator=seeded(2), dtype=torch.float64) if started else None
    y, after = ssd(scan, chunk, state)
    for row in range(2):
        first = None if state is None else state[row].numpy()
        Y, S = reference.scan(
            *(v.numpy() for v in (x[row], dt[row], A, scan.B[row], scan.C[row])), first
        )
        np.testing.assert_allclose(y[row], Y, rtol=1e-11, atol=1e-12)  # other order of sums
        np.testing.assert_allclose(after[row], S, rtol=1e-11, atol=1e-12)


def test_steps_equal_chunks_and_so_does_the_state_alone():
    scan, _ = drawn(2, 9)
    start = torch.randn(2, 4, 3, 5, generator=seeded(2), dtype=torch.float64)
    y, after = ssd(scan, 4, start)
    each, state = steps(scan, start)
    torch.testing.assert_close(each, y, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(state, after, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(state_after(start, scan), after, rtol=1e-11, atol=1e-12)


def test_gradients_of_the_chunked_form_equal_finite_differences():
    scan, _ = drawn(1, 5, heads=2, p=2, groups=1, n=2)
    parts = [v.clone().requires_grad_() for v in scan]
    assert torch.autograd.gradcheck(lambda *v: ssd(Scan(*v), 2), parts)


def test_gradients_of_the_convolution_equal_finite_differences():
    g = seeded(4)
    shapes = ((2, 8, 3), (3, 4), (3,))
    parts = [torch.randn(shape, generator=g, dtype=torch.float64) for shape in shapes]
    assert torch.autograd.gradcheck(convolved, [v.requires_grad_() for v in parts])


def test_strong_decays_neither_overflow_nor_spoil_the_gradient():
    scan, _ = drawn(1, 16)
    parts = [v.float() for v in scan._replace(log_a=torch.full((1, 16, 4), -90.0))]
    parts = [v.requires_grad_() for v in parts]
    y, _ = ssd(Scan(*parts), 8)
    y.square().sum().backward()
    assert y.isfinite().all()
    assert all(v.grad.isfinite().all() for v in parts)
    each = torch.einsum("blgn,blgn->blg", parts[3], parts[2]).repeat_interleave(2, 2)
    torch.testing.assert_close(y, each[..., None] * parts[0])  # nothing but the token itself


@pytest.mark.parametrize("options", [{}, {"groups": 2}, {"conv": 1}, {"conv": 6, "chunk": 16}])
def test_the_layer_equals_its_literal_form(options):
    mixer, u = layer(**options), inputs()
    w = reference.weights_of(mixer)
    y = mixer(u).detach()
    for row in range(2):
        expected = reference.mamba2(w, mixer.settings, u[row].numpy())
        np.testing.assert_allclose(y[row], expected, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("options", [{"groups": 2}, {"conv": 1}, {"conv": 6}])
@pytest.mark.parametrize("pieces", [[11], [1] * 11, [5, 1, 3, 2], [2, 6, 3]])
def test_the_recurrent_form_equals_the_chunked_one(options, pieces):
    mixer, u = layer(**options), inputs()
    cache = mixer.cache(2, 11)
    with torch.no_grad():
        rows = [mixer.advance(part, cache) for part in u.split(pieces, dim=1)]
        torch.testing.assert_close(torch.cat(rows, 1), mixer(u), rtol=1e-10, atol=1e-11)
    assert cache.length == 11


@pytest.mark.parametrize("kept", [0, 1, 3, 4])
def test_a_rewound_cache_goes_on_as_if_the_rest_had_never_come(kept):
    mixer, u = layer(), inputs()
    cache, other = mixer.cache(2, 11), mixer.cache(2, 11)
    with torch.no_grad():
        mixer.advance(u[:, :2], cache)
        mixer.advance(u[:, 2:6] if kept else -u[:, 2:6], cache)
        cache.rewind(kept)
        mixer.advance(u[:, : 2 + kept], other)
        torch.testing.assert_close(cache.state, other.state, rtol=1e-11, atol=1e-12)
        assert torch.equal(cache.window, other.window)
        y = mixer.advance(u[:, 2 + kept :], cache)
        torch.testing.assert_close(y, mixer(u)[:, 2 + kept :], rtol=1e-10, atol=1e-11)
    assert cache.length == 11


def test_rewinding_twice_equals_rewinding_once():
    mixer, u = layer(), inputs()
    caches = [mixer.cache(2, 11) for _ in range(2)]
    for cache in caches:
        mixer.advance(u[:, :6], cache)
    caches[0].rewind(4)
    caches[0].rewind(2)
    caches[1].rewind(2)
    torch.testing.assert_close(caches[0].state, caches[1].state, rtol=1e-12, atol=1e-13)
    assert torch.equal(caches[0].window, caches[1].window)
    with pytest.raises(ConfigurationError, match=r"rewind\(kept=...\) must be in \[0, 2\].* got 3"):
        caches[0].rewind(3)


def test_memory_is_the_same_however_many_tokens_came():
    mixer = layer().float()
    s = mixer.settings
    bytes_ = 4 * (s.heads * s.head_dim * s.state + (s.conv - 1) * s.channels)
    cache = mixer.cache(2, 1000)
    for length in (1, 7, 300):
        mixer.advance(torch.zeros(2, length, DIM), cache)
        assert cache.size_bytes == bytes_


def test_the_first_steps_and_decays_lie_in_their_ranges():
    mixer = Mamba2(DIM, MambaSettings(heads=2000, head_dim=1, dt_min=0.01, dt_max=0.2))
    mixer.draw(0.02, 0.02, seeded(0))
    dt, A = functional.softplus(mixer.dt_bias.detach()), mixer.A_log.detach().exp()
    assert 0.01 <= dt.min() < 0.0101
    assert 0.199 < dt.max() <= 0.2001  # float32
    assert dt.log().mean() == pytest.approx(np.log(0.01 * 0.2) / 2, abs=0.1)  # 5 standard errors
    assert 1 <= A.min() < 1.05
    assert 15.95 < A.max() <= 16
    assert abs(mixer.conv).max() <= 0.5
    assert (mixer.D == 1).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3, "groups": 2}, "mamba: heads must be a multiple of groups; got 3 and 2"),
        ({"dt_min": 0.2}, "mamba: dt_min must be at most dt_max; got 0.2 and 0.1"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MambaSettings(**options)
