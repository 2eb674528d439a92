"""AdamWN: Adam with a controller of the weights' norm, of which decoupled decay is a special case.

After or before each step of Adam the weights are scaled towards a target norm at the rate k:
theta <- theta + k (target / |theta| - 1) theta. A target of 0 and k = lr * weight_decay is AdamW,
and equals `torch.optim.AdamW` to the bit; k = 1 sets the norm at once; the weights may also grow.
When: to choose a norm, or its course, rather than a decay that leads to some norm in the end. When
not: for gains, biases and whatever starts at zero (its target as a ratio is zero); for weights that
the model normalises itself.
Cost: AdamW's (as torch's `foreach` form), and for a target above 0 one more pass for the norms. No
number leaves the device.

Source: I. Loshchilov, Weight norm control, arXiv:2311.11446; Adam as in I. Loshchilov & F. Hutter,
Decoupled weight decay regularization, arXiv:1711.05101, in the order of operations of torch.
Differences from the source: Eq. (3) is a reconstruction, from the two cases that the text gives
(k = weight decay with target 0; k = 1). Of which weights the norm is taken is unknown, hence an
option (`scope`), and so is the order (`apply`): before Adam's step, where AdamW decays, target 0 is
AdamW; after it, k = 1 leaves the very norm. k follows `lr` only where `update_rate` is None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, overload

import torch
from torch import Tensor
from torch.optim import Optimizer

from evoopt.errors import ConfigurationError

Scope = Literal["tensor", "row", "global"]
Apply = Literal["before", "after"]
Target = float | Sequence[float]

_SCOPES, _ORDERS = ("tensor", "row", "global"), ("before", "after")


class AdamWN(Optimizer):
    """Adam with weight-norm control.

    Each group holds the arguments under their names; a caller with schedules sets lr, target_ratio,
    target_norm and update_rate of a group before each step.

    Attributes:
        state: of each parameter: step, exp_avg, exp_avg_sq as in torch.optim.AdamW, and
            initial_norm: (), or (..., 1) of rows, when it first got a gradient here.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        target_ratio: float = 1.0,
        target_norm: Target | None = None,
        update_rate: float | None = None,
        scope: Scope = "tensor",
        apply: Apply = "before",
    ) -> None:
        """Groups with these values where they bring none of their own.

        Args:
            params: tensors, or groups.
            lr, betas, eps: of Adam.
            weight_decay: the rate k in units of lr, where update_rate is None.
            target_ratio: r, the target norm in units of the initial norm.
            target_norm: the target norm itself, instead: one for all, or one for each tensor.
            update_rate: k, in [0, 1]; None for lr * weight_decay.
            scope: whose norm: of each tensor, of each row (the last axis), or of the tensors of a
                group together ("global").
            apply: whether the norm is controlled before or after Adam's step.

        Raises:
            ConfigurationError: a value cannot be used.
        """
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "target_ratio": target_ratio,
            "target_norm": target_norm,
            "update_rate": update_rate,
            "scope": scope,
            "apply": apply,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group, checked; one that is refused is not there."""
        super().add_param_group(param_group)
        try:
            _check_adam(self.param_groups[-1])
            _check_control(self.param_groups[-1])
        except ConfigurationError:
            self.param_groups.pop()
            raise

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step of every group, of its parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            _check_control(group)  # all, before anything moves
        for group in self.param_groups:
            given = [i for i, p in enumerate(group["params"]) if p.grad is not None]
            if given:
                self._step_group(group, given)
        return loss

    def _step_group(self, group: dict[str, Any], given: list[int]) -> None:
        """given: which parameters of the group have a gradient."""
        params = [group["params"][i] for i in given]
        states = [self._state_of(p, group["scope"]) for p in params]
        if group["apply"] == "before":
            _control(group, given, params, states)
        _adam(group, params, states)
        if group["apply"] == "after":
            _control(group, given, params, states)

    def _state_of(self, p: Tensor, scope: Scope) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[p]
        if not state:
            state["step"] = torch.tensor(0.0)  # on the CPU: read at each step
            state["exp_avg"] = torch.zeros_like(p, memory_format=torch.preserve_format)
            state["exp_avg_sq"] = torch.zeros_like(p, memory_format=torch.preserve_format)
        if "initial_norm" not in state:  # nor in a state of torch's AdamW
            state["initial_norm"] = norm_of(p, scope).to(p.dtype)
        return state


def _adam(group: dict[str, Any], params: list[Tensor], states: list[dict[str, Tensor]]) -> None:
    """Adam's step without decay, operation by operation as torch's `foreach` form does it."""
    lr, (beta1, beta2) = group["lr"], group["betas"]
    grads: list[Tensor] = [p.grad for p in params if p.grad is not None]
    exp_avgs = [state["exp_avg"] for state in states]
    exp_avg_sqs = [state["exp_avg_sq"] for state in states]
    counts = [state["step"] for state in states]
    torch._foreach_add_(counts, 1)
    steps = [count.item() for count in counts]
    torch._foreach_lerp_(exp_avgs, grads, 1 - beta1)  # m
    torch._foreach_mul_(exp_avg_sqs, beta2)
    torch._foreach_addcmul_(exp_avg_sqs, grads, grads, 1 - beta2)  # v
    denominators = torch._foreach_sqrt(exp_avg_sqs)
    torch._foreach_div_(denominators, [(1 - beta2**t) ** 0.5 for t in steps])
    torch._foreach_add_(denominators, group["eps"])
    sizes = [(lr / (1 - beta1**t)) * -1 for t in steps]
    torch._foreach_addcdiv_(params, exp_avgs, denominators, sizes)


def _control(
    group: dict[str, Any], given: list[int], params: list[Tensor], states: list[dict[str, Tensor]]
) -> None:
    """Eq. (3): theta (1 - k + k target / |theta|). What is zero has no direction and stays zero."""
    k = group["update_rate"]
    if k is None:
        k = group["lr"] * group["weight_decay"]
    if k == 0:
        return
    ratio, norm = group["target_ratio"], group["target_norm"]
    if (ratio if norm is None else norm) == 0:
        torch._foreach_mul_(params, 1 - k)  # weight decay
        return
    found = [norm_of(p, group["scope"]) for p in params]
    norms = torch.cat([n.reshape(-1) for n in found])  # of all tensors, or of all their rows
    targets = _targets(group, given, found, states)
    if group["scope"] == "global":
        norms, targets = (norm_of(x).expand(len(params)) for x in (norms, targets))
    factors = torch.where(norms > 0, (1 - k) + k * targets / norms, 1 - k)
    parts = torch.split(factors, [n.numel() for n in found])
    scales = [f.view(n.shape).to(p.dtype) for f, n, p in zip(parts, found, params, strict=True)]
    torch._foreach_mul_(params, scales)


def _targets(
    group: dict[str, Any], given: list[int], found: list[Tensor], states: list[dict[str, Tensor]]
) -> Tensor:
    """Target norms of all tensors, or of all their rows, in one row; of a group together, one norm
    or those of its tensors. found: the norms that there are."""
    norm = group["target_norm"]
    if norm is None:
        initial = torch.cat([state["initial_norm"].reshape(-1) for state in states])
        return initial.double() * float(group["target_ratio"])
    if isinstance(norm, Sequence):
        each = zip((norm[i] for i in given), found, strict=True)
        return torch.cat([torch.full_like(n, goal).reshape(-1) for goal, n in each])
    count = 1 if group["scope"] == "global" else sum(n.numel() for n in found)
    return torch.full((count,), norm, dtype=torch.float64, device=found[0].device)


def norm_of(p: Tensor, scope: Scope = "tensor") -> Tensor:
    """Euclidean norm of each row, (..., 1), or of the whole, (); float64.

    Rows first: torch sums a long vector in single precision to 1e-5 (1e6 numbers) only."""
    rows: Tensor = torch.linalg.vector_norm(p, dim=-1, keepdim=True)
    if scope == "row":
        return rows.double()
    whole: Tensor = torch.linalg.vector_norm(rows, dtype=torch.float64)
    return whole


def _check_adam(group: dict[str, Any]) -> None:
    """Refuses values of Adam, and parameters, that cannot be used."""
    for word in ("lr", "eps", "weight_decay"):
        _check(0 <= group[word] < math.inf, word, "finite and at least 0", group[word])
    betas = group["betas"]
    _check(all(0 <= beta < 1 for beta in betas), "betas", "in [0, 1)", betas)
    for word, words in (("scope", _SCOPES), ("apply", _ORDERS)):
        _check(group[word] in words, word, f"one of {', '.join(words)}", group[word])
    for p in group["params"]:
        kept = p.dtype in (torch.float32, torch.float64)
        _check(kept, "params", "float32 or float64 (low precision by autocast)", p.dtype)


def _check_control(group: dict[str, Any]) -> None:
    """Refuses targets and rates that cannot be used; a schedule may have set them."""
    k, ratio, norm = group["update_rate"], group["target_ratio"], group["target_norm"]
    _check(k is None or 0 <= k <= 1, "update_rate", "in [0, 1], or None", k)
    _check(0 <= ratio < math.inf, "target_ratio", "finite and at least 0", ratio)
    several = isinstance(norm, Sequence)
    goals = [] if norm is None else norm if several else [norm]
    _check(all(0 <= g < math.inf for g in goals), "target_norm", "finite and at least 0", norm)
    count = len(group["params"])
    fits = not several or len(goals) == count
    _check(fits, "target_norm", f"one norm, or one for each of {count} tensors", len(goals))


def _check(good: bool, word: str, expected: str, got: object) -> None:
    if not good:
        raise ConfigurationError(f"AdamWN({word}=...) must be {expected}; got {got}")
