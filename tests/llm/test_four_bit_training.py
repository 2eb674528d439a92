"""Training in emulated four bits: what the run tells of it, and that telling changes nothing."""

from __future__ import annotations

import pytest
from training import GPT, NEMOTRON, curve, tiny

from evoopt_llm import fp4linear, fp4matmul, models
from evoopt_llm.runfolder import read_metrics
from evoopt_llm.trial import train

FOUR_BIT = {"kind": "nvfp4", "keep_last": 0, "rht_signs": "fresh", "switch_at": 0.7}


@pytest.mark.parametrize("model", [GPT, NEMOTRON], ids=["gpt", "nemotron"])
def test_each_evaluation_tells_the_decibels_of_every_layer_in_four_bits(
    model, tiny_cache, tmp_path
):
    config = tiny(tiny_cache, model=model, precision={**FOUR_BIT, "switch_at": None})
    result = train(config, tmp_path / "run")
    assert result.precision == "nvfp4 emulated"
    rows = [row for row in read_metrics(tmp_path / "run") if row["kind"] == "valid"]
    layers = fp4linear.convert(models.build(config.model, 0), config.precision).four_bit
    for row in rows:
        assert tuple(row["rounding"]) == layers
        for found in row["rounding"].values():
            assert list(found) == [*(f"{role}_db" for role in fp4matmul.ROLES), "gradient_to_noise"]
    qkv = next(name for name in layers if name.endswith("qkv"))
    assert 10 < rows[-1]["rounding"][qkv]["fprop_input_db"] < 25
    assert 1 < rows[-1]["rounding"][qkv]["gradient_to_noise"] < 30


def test_without_four_bits_no_decibels_are_told(tiny_cache, tmp_path):
    train(tiny(tiny_cache), tmp_path / "run")
    assert not [row for row in read_metrics(tmp_path / "run") if "rounding" in row]


@pytest.mark.parametrize("model", [GPT, NEMOTRON], ids=["gpt", "nemotron"])
def test_a_curve_is_the_same_however_often_it_is_evaluated(model, tiny_cache, tmp_path):
    curves = []
    for number, every in enumerate((2, 12)):
        config = tiny(tiny_cache, model=model, precision=FOUR_BIT, run={"eval_every": every})
        train(config, tmp_path / f"{number}")
        curves.append([row for row in curve(tmp_path / f"{number}") if row[0] == "train"])
    assert curves[0] == curves[1]
