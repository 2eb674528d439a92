"""A step and an evaluation, against what they are by definition."""

import numpy as np
import pytest
import torch
from training import GPT, NEMOTRON, NGPT, tiny

from evoopt_llm.batches import train_windows, valid_windows
from evoopt_llm.corpus import Corpus
from evoopt_llm.distributed import Group
from evoopt_llm.learner import Learner
from evoopt_llm.models.base import cross_entropy

PLAIN = {"kind": "sgd", "lr": 0.5, "momentum": 0.0}  # of which a step is -lr times the gradient
FLAT = {"kind": "constant"}


def learner(corpus: Corpus, cache: str, **parts: dict) -> Learner:
    config = tiny(cache, **{"optimizer": PLAIN, "schedule": FLAT, **parts})
    return Learner(config, corpus, Group(), torch.device("cpu"))


def flat(made: Learner) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in made.model.parameters()])


def gradient(made: Learner, step: int) -> torch.Tensor:
    """Of the mean loss of a step's windows, by autograd alone."""
    windows = torch.from_numpy(train_windows(made._corpus, step, 4, 16, 7)).long()
    loss = cross_entropy(made.model(windows[:, :-1]), windows[:, 1:])
    found = torch.autograd.grad(loss, list(made.model.parameters()))
    return torch.cat([g.flatten() for g in found])


def test_a_step_of_plain_descent_is_minus_the_rate_times_the_gradient(
    tiny_corpus: Corpus, tiny_cache: str
) -> None:
    made = learner(tiny_corpus, tiny_cache, run={"clip": 0.0})
    want, before = gradient(made, 3), flat(made)
    taken = made.step(3)
    assert torch.allclose(flat(made) - before, -0.5 * want, atol=1e-7)
    assert float(taken.gradient_norm) == pytest.approx(float(want.norm()), rel=1e-5)
    assert taken.lr == 0.5


def test_a_long_gradient_is_cut_to_the_length_allowed_and_keeps_its_direction(
    tiny_corpus: Corpus, tiny_cache: str
) -> None:
    made = learner(tiny_corpus, tiny_cache, run={"clip": 0.01})
    want, before = gradient(made, 0), flat(made)
    norm = float(made.step(0).gradient_norm)
    moved = flat(made) - before
    assert norm == pytest.approx(float(want.norm()), rel=1e-5)  # that before it was cut
    assert float(moved.norm()) == pytest.approx(0.5 * 0.01, rel=1e-3)
    assert float(torch.cosine_similarity(moved, -want, dim=0)) == pytest.approx(1, abs=1e-4)


def test_the_held_out_loss_is_the_mean_over_all_windows_in_parts_of_any_size(
    tiny_corpus: Corpus, tiny_cache: str
) -> None:
    made = learner(tiny_corpus, tiny_cache, run={"batch": 3, "valid_windows": 8})
    windows = torch.from_numpy(valid_windows(tiny_corpus, 16, 8)).long()
    with torch.no_grad():
        each = [float(made.model.losses(window[None]).main) for window in windows]
    assert made.valid_loss() == pytest.approx(np.mean(each), rel=1e-6)
    assert made.model.training


@pytest.mark.parametrize("model", [GPT, NGPT, NEMOTRON], ids=lambda model: model["kind"])
def test_an_evaluation_changes_nothing_of_the_training(
    model: dict, tiny_corpus: Corpus, tiny_cache: str
) -> None:
    one, other = (learner(tiny_corpus, tiny_cache, model=model) for _ in range(2))
    for step in range(3):
        one.step(step)
        other.valid_loss()
        other.step(step)
    assert torch.equal(flat(one), flat(other))
    for (name, mine), theirs in zip(one.model.named_buffers(), other.model.buffers(), strict=True):
        assert torch.equal(mine, theirs), name


def test_a_step_depends_on_its_number_and_the_weights_alone(
    tiny_corpus: Corpus, tiny_cache: str
) -> None:
    precision = {"kind": "nvfp4", "keep_last": 0, "rht_signs": "fresh"}
    one, other = (learner(tiny_corpus, tiny_cache, precision=precision) for _ in range(2))
    torch.manual_seed(123)  # what all share has no part in it
    for step in (2, 0):
        one.step(step)
    other.step(5)
    other.model.load_state_dict(
        learner(tiny_corpus, tiny_cache, precision=precision).model.state_dict()
    )
    torch.manual_seed(321)
    for step in (2, 0):
        other.step(step)
    assert torch.equal(flat(one), flat(other))
