"""Random Hadamard transforms: orthogonal, signed as published, undone by the product."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference_fp4 import hadamard as literal

from evoopt.errors import ConfigurationError
from evoopt_llm import hadamard


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", hadamard.SIZES)
def test_the_transform_equals_its_definition_group_by_group(size):
    x, signs = normal(3, 256), hadamard.signs(size)
    got = hadamard.transform(x, hadamard.matrix(size, signs))
    np.testing.assert_allclose(got, literal(x.numpy(), signs.numpy()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", hadamard.SIZES)
def test_a_product_of_two_transformed_tensors_is_theirs(size):
    H = hadamard.matrix(size, hadamard.signs(size, seed=3)).double()
    torch.testing.assert_close(H @ H.T, torch.eye(size).double(), rtol=0, atol=1e-7)
    a, b = normal(5, 256).double(), normal(7, 256, seed=1).double()
    product = hadamard.transform(a, H) @ hadamard.transform(b, H).T
    torch.testing.assert_close(product, a @ b.T, rtol=1e-6, atol=1e-6)


def test_signs_of_16_are_the_published_ones_and_others_are_drawn():
    published = [1, 1, 1, -1, 1, -1, -1, -1, -1, -1, -1, 1, -1, 1, -1, -1]
    assert hadamard.signs(16).tolist() == published
    assert torch.equal(hadamard.signs(128), hadamard.signs(128))
    assert torch.equal(hadamard.signs(128, 1, 2), hadamard.signs(128, 1, 2))
    assert not torch.equal(hadamard.signs(128, 1, 2), hadamard.signs(128, 1, 3))
    assert not torch.equal(hadamard.signs(128, 1, 2), hadamard.signs(128, 2, 2))
    # of 12 800 fair signs the sum is beyond 5 standard deviations with a probability of 6e-7
    total = sum(hadamard.signs(128, 0, number).sum() for number in range(100))
    assert abs(total) < 5 * 12_800**0.5


def test_an_outlier_is_spread_evenly_over_its_group():
    x = torch.zeros(2, 32)
    x[1, 20] = 8.0
    y = hadamard.transform(x, hadamard.matrix(16, hadamard.signs(16)))
    assert y[1, 16:].abs().tolist() == [2.0] * 16
    assert (y[:, :16] == 0).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hadamard.matrix(12, torch.ones(12)), r"matrix\(size=...\) must be one of"),
        (
            lambda: hadamard.transform(torch.ones(4, 24), torch.eye(16)),
            r"transform\(x=...\).*of 16",
        ),
    ],
)
def test_what_cannot_be_transformed_is_refused_in_one_line(call, message):
    with pytest.raises(ConfigurationError, match=message):
        call()
