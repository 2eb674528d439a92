"""What --dry-run says, against what can be counted by hand or measured."""

import json
import resource

import pytest
import torch
from training import GPT, NEMOTRON, NGPT, tiny

from evoopt.errors import ConfigurationError
from evoopt_llm import models
from evoopt_llm.estimate import estimate, kept_bytes
from evoopt_llm.models import gpt


@pytest.mark.parametrize("model", [GPT, NGPT, NEMOTRON], ids=lambda model: model["kind"])
def test_parameters_tokens_and_operations_are_those_of_the_model(
    model: dict, tiny_cache: str
) -> None:
    config = tiny(tiny_cache, model=model)
    found = estimate(config)
    built = models.build(config.model, 1)
    count = sum(p.numel() for p in built.parameters())
    assert found.parameters == sum(found.parameters_of.values()) == count
    assert found.tokens == 12 * 4 * 16
    assert found.flops == built.flops(16) * found.tokens
    assert (found.gradient_bytes, found.optimizer_bytes) == (4 * count, 8 * count)
    parts = found.weight_bytes + found.gradient_bytes + found.optimizer_bytes
    assert found.memory_bytes == parts + found.activation_bytes


def test_what_autograd_keeps_of_one_product_is_its_input_alone() -> None:
    class One(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Parameter(torch.zeros(16, 8))
            self.weight = torch.nn.Parameter(torch.zeros(8, 8))

        def losses(self, windows):
            from evoopt_llm.models.base import Losses

            x = self.table.exp()[windows[:, :-1]]  # kept: exp (16, 8), the indices, and x below
            total = (x @ self.weight).sum()
            return Losses(total, total, {})

    kept = 4 * 16 * 8 + 8 * 5 + 4 * 5 * 8  # exp's result, the window's 5 tokens of int64, x
    assert kept - 8 * 5 <= kept_bytes(One(), 4) <= kept  # type: ignore[arg-type]


def test_activations_grow_with_the_part_of_the_batch_that_a_process_holds(tiny_cache: str) -> None:
    whole = estimate(tiny(tiny_cache))
    parts = estimate(tiny(tiny_cache, run={"accumulation": 2}))
    shared = estimate(tiny(tiny_cache), processes=4)
    assert (whole.rows, parts.rows, shared.rows) == (4, 2, 1)
    assert whole.activation_bytes == 2 * parts.activation_bytes == 4 * shared.activation_bytes
    assert whole.weight_bytes == shared.weight_bytes


def test_the_optimizer_and_the_precision_count(tiny_cache: str) -> None:
    sgd = estimate(tiny(tiny_cache, optimizer={"kind": "sgd"}))
    assert sgd.optimizer_bytes == 4 * sgd.parameters
    four = estimate(tiny(tiny_cache, precision={"kind": "nvfp4", "keep_last": 0}))
    assert "emulated" in four.precision
    assert four.bits_per_weight < 32


def test_a_batch_that_cannot_be_dealt_out_is_refused(tiny_cache: str) -> None:
    with pytest.raises(ConfigurationError, match="multiple of 3"):
        estimate(tiny(tiny_cache), processes=3)


LARGE = {"kind": "gpt", "dim": 2**16, "layers": 50, "heads": 512, "context": 2048}


@pytest.mark.parametrize("model", [LARGE, {**GPT, "context": 2**30}], ids=["wide", "long"])
def test_a_model_that_does_not_fit_into_memory_is_counted_without_its_numbers(
    model: dict, tiny_cache: str
) -> None:
    began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = estimate(tiny(tiny_cache, model=model))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - began < 500e3  # kB
    dim, context = model["dim"], model["context"]
    blocks = model["layers"] * ((4 + 3 * 4) * dim**2 + 2 * dim)  # q, k, v, out; SwiGLU of 4 dim
    assert found.parameters == blocks + 2 * model.get("vocabulary", 256) * dim + dim
    assert found.tokens == 12 * 4 * context
    assert found.token_flops > 6 * found.parameters_of["matrix"]
    assert found.activation_bytes is found.memory_bytes is None
    text = dict(found.table())["memory"]
    assert text.startswith("above ")
    assert text.endswith("activations of 4 sequences not measured")
    assert json.dumps(found.plain())


def test_activations_that_do_not_fit_into_memory_are_not_tried(
    monkeypatch: pytest.MonkeyPatch, tiny_cache: str
) -> None:
    config = tiny(tiny_cache, model={**GPT, "context": 2048})
    whole = estimate(config).activation_bytes
    assert whole is not None
    monkeypatch.setattr("evoopt_llm.estimate._machine_bytes", lambda: whole // 4)
    monkeypatch.setattr(gpt.GPT, "forward", short(gpt.GPT.forward))
    assert estimate(config).activation_bytes is None


def short(forward):
    """A model's forward pass that must not see long sequences."""

    def checked(self, tokens):
        assert tokens.shape[1] < 100
        return forward(self, tokens)

    return checked
