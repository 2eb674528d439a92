"""AdamWN: AdamW to the bit where its target is 0, the very norms where its rate is 1."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from evoopt.errors import ConfigurationError
from evoopt_llm.adamwn import AdamWN

SHAPES = ((7, 5), (5,), (2, 3, 4), ())
STEPS = 300
SCOPES = ("tensor", "row", "global")


def tensors(dtype: torch.dtype = torch.float32) -> list[Tensor]:
    draw = torch.Generator().manual_seed(3)
    return [torch.randn(s, generator=draw, dtype=dtype).requires_grad_() for s in SHAPES]


def gradients(step: int, params: list[Tensor]) -> None:
    """Of this step, whatever came before."""
    draw = torch.Generator().manual_seed(1000 + step)
    for p in params:
        p.grad = torch.randn(p.shape, generator=draw, dtype=p.dtype)


def run(optimizer: torch.optim.Optimizer, params: list[Tensor], first: int, last: int) -> None:
    """The steps, with a learning rate that is another at each."""
    for step in range(first, last):
        gradients(step, params)
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (1 + math.sin(step / 10))
        optimizer.step()


def norm(x: Tensor) -> float:
    return float(x.detach().double().norm())


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("foreach", [True, False])
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_target_0_and_the_rate_lr_times_decay_equal_torchs_adamw_to_the_bit(
    dtype: torch.dtype, decay: float, foreach: bool
) -> None:
    ours, theirs = tensors(dtype), tensors(dtype)
    run(AdamWN(ours, 1e-3, (0.9, 0.95), 1e-8, decay, target_ratio=0.0), ours, 0, STEPS)
    reference = torch.optim.AdamW(theirs, 1e-3, (0.9, 0.95), 1e-8, decay, foreach=foreach)
    run(reference, theirs, 0, STEPS)
    assert same(ours, theirs)


def test_an_explicit_rate_of_lr_times_decay_equals_torchs_adamw_to_the_bit() -> None:
    ours, theirs = tensors(), tensors()
    optimizer = AdamWN(ours, target_norm=0.0, update_rate=0.0)
    reference = torch.optim.AdamW(theirs, weight_decay=0.1)
    for step in range(100):
        for p, q in ((ours, optimizer), (theirs, reference)):
            gradients(step, p)
            q.param_groups[0]["lr"] = lr = 1e-2 / (1 + step)
        optimizer.param_groups[0]["update_rate"] = lr * 0.1
        optimizer.step()
        reference.step()
    assert same(ours, theirs)


@pytest.mark.parametrize("options", [{"target_ratio": 0.0}, {"target_ratio": 1.3, "scope": "row"}])
def test_a_run_goes_on_from_its_saved_state_to_the_bit(options: dict[str, Any]) -> None:
    whole, halves = tensors(), tensors()
    run(AdamWN(whole, **options), whole, 0, STEPS)
    first = AdamWN(halves, **options)
    run(first, halves, 0, STEPS // 2)
    saved = copy.deepcopy(first.state_dict())
    later = [p.detach().clone().requires_grad_() for p in halves]
    second = AdamWN(later, target_ratio=5.0)  # the saved options stand, not these
    second.load_state_dict(saved)
    run(second, later, STEPS // 2, STEPS)
    assert same(whole, later)


def test_torchs_adamw_goes_on_from_its_state_to_the_bit() -> None:
    ours, theirs = tensors(), tensors()
    first = AdamWN(ours, weight_decay=0.1, target_ratio=0.0)
    run(first, ours, 0, 50)
    second = torch.optim.AdamW(ours, weight_decay=0.1)
    second.state.update(first.state)
    run(second, ours, 50, 100)
    run(torch.optim.AdamW(theirs, weight_decay=0.1), theirs, 0, 100)
    assert same(ours, theirs)


def test_a_state_of_torchs_adamw_is_gone_on_with_and_ratios_count_from_there() -> None:
    ours, theirs = tensors(), tensors()
    trunk = torch.optim.AdamW(ours, weight_decay=0.1)
    run(trunk, ours, 0, 50)
    saved = trunk.state_dict()
    run(torch.optim.AdamW(theirs, weight_decay=0.1), theirs, 0, 100)
    start, later = [norm(p) for p in ours], [p.detach().clone().requires_grad_() for p in ours]
    for params, options in (
        (ours, {"target_ratio": 0.0, "weight_decay": 0.1}),
        (later, {"target_ratio": 2.0, "update_rate": 1.0, "apply": "after"}),
    ):
        optimizer = AdamWN(params, **options)
        saved["param_groups"] = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict(saved)
        run(optimizer, params, 50, 100)
    assert same(ours, theirs)
    assert [norm(p) for p in later] == pytest.approx([2 * n for n in start], rel=1e-6)


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("goal", [{"target_ratio": 1.5}, {"target_norm": 2.5}], ids=repr)
def test_rate_1_after_the_step_holds_the_target_to_1e_6(scope: str, goal: dict[str, float]) -> None:
    params = tensors()
    parts = {
        "tensor": lambda: [[p] for p in params],
        "row": lambda: [
            [row] for p in params for row in (p.reshape(-1, p.shape[-1] if p.ndim else 1))
        ],
        "global": lambda: [list(params)],
    }[scope]
    before = [math.hypot(*map(norm, part)) for part in parts()]
    targets = [goal.get("target_norm", 1.5 * start) for start in before]
    optimizer = AdamWN(params, lr=0.1, update_rate=1.0, scope=scope, apply="after", **goal)
    for step in range(20):
        run(optimizer, params, step, step + 1)
        assert [math.hypot(*map(norm, part)) for part in parts()] == pytest.approx(
            targets, rel=1e-6
        )


def test_target_0_takes_no_pass_over_the_weights_for_their_norms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    params = tensors()
    optimizer = AdamWN(params, target_ratio=0.0)
    run(optimizer, params, 0, 1)  # the initial norms
    monkeypatch.setattr("evoopt_llm.adamwn.norm_of", None)
    run(optimizer, params, 1, 2)


def test_the_norm_of_a_million_numbers_is_held_to_1e_6() -> None:
    """torch's own norm of so many in single precision is 1e-5 off."""
    p = torch.randn(1000, 1000, generator=torch.Generator().manual_seed(1)).requires_grad_()
    target = norm(p)
    p.grad = p.detach().clone()
    AdamWN([p], lr=0.1, update_rate=1.0, apply="after").step()
    assert norm(p) == pytest.approx(target, rel=1e-6)


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("apply", ["before", "after"])
def test_each_step_equals_the_equation_written_out(scope: str, apply: str) -> None:
    """theta + k (target / |theta| - 1) theta beside Adam, tensor by tensor in Python's numbers."""
    params = tensors(torch.float64)
    optimizer = AdamWN(
        params, 1e-2, (0.8, 0.9), 1e-6, target_ratio=1.4, update_rate=0.3, scope=scope, apply=apply
    )
    theta = [p.detach().clone() for p in params]
    initial = [t.clone() for t in theta]
    m, v = [torch.zeros_like(t) for t in theta], [torch.zeros_like(t) for t in theta]

    def length(all_: list[Tensor], i: int) -> Tensor:
        if scope == "global":
            return torch.cat([t.flatten() for t in all_]).norm()
        return all_[i].norm(dim=-1, keepdim=True) if scope == "row" else all_[i].norm()

    def controlled(old: list[Tensor]) -> list[Tensor]:
        return [
            t + 0.3 * (1.4 * length(initial, i) / length(old, i) - 1) * t for i, t in enumerate(old)
        ]

    for step in range(10):
        gradients(step, params)
        if apply == "before":
            theta = controlled(theta)
        for i, p in enumerate(params):
            m[i] = 0.8 * m[i] + 0.2 * p.grad
            v[i] = 0.9 * v[i] + 0.1 * p.grad**2
            m_hat, v_hat = m[i] / (1 - 0.8 ** (step + 1)), v[i] / (1 - 0.9 ** (step + 1))
            theta[i] = theta[i] - 1e-2 * m_hat / (v_hat.sqrt() + 1e-6)
        if apply == "after":
            theta = controlled(theta)
        optimizer.step()
    for p, t in zip(params, theta, strict=True):
        torch.testing.assert_close(p.detach(), t, rtol=1e-12, atol=1e-14)


def test_each_tensor_may_have_its_own_target() -> None:
    params = tensors()
    goals = [1.0, 2.0, 3.0, 4.0]
    optimizer = AdamWN(params, update_rate=1.0, target_norm=goals, apply="after")
    gradients(0, params)
    params[1].grad = None  # is not stepped; the goals of the others stay theirs
    left = params[1].detach().clone()
    optimizer.step()
    assert [norm(p) for p in params] == pytest.approx([1.0, norm(left), 3.0, 4.0], rel=1e-6)
    assert torch.equal(params[1], left)


def test_the_norms_of_a_group_together_may_be_given_by_tensor() -> None:
    params = tensors()
    optimizer = AdamWN(
        params, update_rate=1.0, target_norm=[1.0, 2.0, 3.0, 4.0], scope="global", apply="after"
    )
    run(optimizer, params, 0, 1)
    assert math.hypot(*map(norm, params)) == pytest.approx(math.sqrt(30), rel=1e-6)


@pytest.mark.parametrize("scope", SCOPES)
def test_weights_of_zero_stay_zero_and_nothing_becomes_nan(scope: str) -> None:
    p = torch.zeros(3, 2, requires_grad=True)
    p.grad = torch.zeros(3, 2)
    AdamWN([p], target_norm=1.0, update_rate=1.0, scope=scope).step()
    assert torch.equal(p, torch.zeros(3, 2))


def test_the_target_of_a_step_is_that_of_the_group() -> None:
    params = tensors()
    optimizer = AdamWN(params, update_rate=1.0, apply="after")
    start = [norm(p) for p in params]
    for step, ratio in enumerate([1.0, 2.0, 0.5]):
        optimizer.param_groups[0]["target_ratio"] = ratio
        run(optimizer, params, step, step + 1)
        assert [norm(p) for p in params] == pytest.approx([ratio * n for n in start], rel=1e-6)


def test_a_closure_is_called_with_gradients_and_its_loss_returned() -> None:
    p = torch.ones(2, requires_grad=True)

    def closure() -> Tensor:
        loss = (p**2).sum()
        loss.backward()
        return loss

    assert AdamWN([p]).step(closure).item() == 2.0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            {"target_ratio": -1.0},
            "AdamWN(target_ratio=...) must be finite and at least 0; got -1.0",
        ),
        ({"lr": -1.0}, "AdamWN(lr=...) must be finite and at least 0; got -1.0"),
        ({"betas": (0.9, 1.0)}, "AdamWN(betas=...) must be in [0, 1); got (0.9, 1.0)"),
        ({"update_rate": 1.5}, "AdamWN(update_rate=...) must be in [0, 1], or None; got 1.5"),
        (
            {"target_norm": math.nan},
            "AdamWN(target_norm=...) must be finite and at least 0; got nan",
        ),
        ({"target_norm": [1.0]}, "one norm, or one for each of 4 tensors; got 1"),
        ({"scope": "layer"}, "AdamWN(scope=...) must be one of tensor, row, global; got layer"),
        ({"apply": "during"}, "AdamWN(apply=...) must be one of before, after; got during"),
    ],
    ids=repr,
)
def test_arguments_that_cannot_be_used_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        AdamWN(tensors(), **wrong)
    assert said in str(caught.value)


def test_a_group_that_is_refused_is_not_there() -> None:
    first, second = tensors()[:1], tensors()[1:2]
    optimizer = AdamWN(first)
    with pytest.raises(ConfigurationError, match="update_rate"):
        optimizer.add_param_group({"params": second, "update_rate": -1.0})
    assert len(optimizer.param_groups) == 1


def test_weights_of_low_precision_are_refused() -> None:
    p = torch.zeros(2, dtype=torch.bfloat16, requires_grad=True)
    with pytest.raises(ConfigurationError, match="must be float32 or float64"):
        AdamWN([p])


def test_a_target_that_a_schedule_set_wrongly_is_refused_and_nothing_has_moved() -> None:
    params = tensors()
    optimizer = AdamWN([{"params": params[:2]}, {"params": params[2:]}])
    optimizer.param_groups[1]["target_ratio"] = math.nan
    gradients(0, params)
    with pytest.raises(ConfigurationError, match="target_ratio"):
        optimizer.step()
    assert same(params, tensors())
