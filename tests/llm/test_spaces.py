"""Search spaces: every point of every shipped space is a config, and priors are where they say."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from evoopt import rng
from evoopt.errors import ConfigurationError
from evoopt.space import Float
from evoopt_llm import models
from evoopt_llm.config import config_of, load
from evoopt_llm.fp4linear import convert
from evoopt_llm.optimizers import build
from evoopt_llm.schedules import multiplier
from evoopt_llm.spaces import SearchSpace, apply, read_space, step_law_rate
from evoopt_llm.tables import read_tables

CONFIGS = Path(__file__).parents[2] / "llm_tuning/configs"
SPACES = sorted(p for p in CONFIGS.glob("*.toml") if "[space." in p.read_text())
BASES = sorted(set(CONFIGS.glob("*.toml")) - set(SPACES))

each_space = pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)


def of_point(search: SearchSpace, point: dict):
    return config_of(apply(search, point, read_tables(search.base)), "the point")


@pytest.mark.parametrize("path", BASES, ids=lambda path: path.stem)
def test_every_base_is_a_config(path: Path) -> None:
    assert load(path).total_steps > 0


def test_naming_the_matrices_changes_no_run() -> None:
    tiny, parts = (load(CONFIGS / f"{name}.toml") for name in ("tiny", "parts"))
    plain = parts.optimizer.model_copy(update={"parts": {}})
    assert parts.model_copy(update={"optimizer": plain}) == tiny
    model = models.build(tiny.model, 0)
    one, other = (build(model, config.optimizer).param_groups for config in (tiny, parts))
    assert len(other) == len(one) - 1 + 8
    rates = [
        {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
        for groups in (one, other)
    ]
    assert rates[0] == rates[1]


def test_the_spaces_that_were_asked_for_are_there() -> None:
    dims = {path.stem: read_space(path).space.dim for path in SPACES}
    assert {"rate", "norm", "nvfp4", "modules"} <= dims.keys()
    assert 10 <= dims["modules"] <= 40
    factors = ("lr_of.", "decay_of.", "parts.", "_scale")
    names = read_space(CONFIGS / "modules.toml").space.names
    assert sum(any(word in name for word in factors) for name in names) == 25
    knots = [name for name in read_space(CONFIGS / "norm.toml").space.names if "[" in name]
    assert 3 <= len(knots) <= 6


@each_space
def test_every_point_is_a_config_that_can_be_trained(path: Path) -> None:
    search = read_space(path)
    base, dim = read_tables(search.base), search.space.dim
    inside, coins = rng.uniforms(1, (), 0, 200, dim), rng.uniforms(2, (), 0, 200, dim)
    near = np.clip(search.x0 + search.sigma0 * (8 * coins[:50] - 4), 0, 1)
    edges = np.where(coins < 0.5, inside.round(), inside)  # half of the coordinates at their bounds
    corners = np.array([np.full(dim, corner) for corner in (0.0, 1.0)])
    layers: dict[str, tuple[str, ...]] = {}  # in four bits, by what decides it
    for x in np.concatenate([inside, near, edges, corners]):
        config = config_of(apply(search, search.space.point(x), base), "the point")
        for step in range(0, config.total_steps, 10):
            multiplier(config.schedule, step, config.total_steps)
        if config.precision.autocast or config.precision.kind == "fp32":
            continue
        key = f"{config.model} {config.precision.keep_first} {config.precision.keep_last}"
        if key not in layers:
            layers[key] = convert(models.build(config.model, 1), config.precision).four_bit
        assert layers[key]


def test_the_prior_of_four_bits_ends_in_four_bits() -> None:
    search = read_space(CONFIGS / "nvfp4.toml")
    prior = of_point(search, search.prior).precision
    assert (prior.switch, prior.switch_at, prior.policy.clip) == ("never", None, 1.0)
    late = of_point(search, {**search.prior, "precision.switch": "forward"}).precision
    assert (late.switch, late.switch_at) == ("forward", 0.82)
    plain = of_point(search, {**search.prior, "precision.rht": "off", "precision.rht_size": 64})
    assert plain.precision.rht_size == 16


@each_space
def test_the_prior_is_a_point_and_its_spread_fits_into_the_range(path: Path) -> None:
    search = read_space(path)
    for name, value in search.space.point(search.x0).items():
        close = pytest.approx(value) if isinstance(value, float) else value
        assert search.prior[name] == close, name
    of_point(search, search.prior)
    assert ((search.sigma0 > 0) & (search.sigma0 < 1)).all()


@each_space
def test_every_value_of_a_point_arrives_in_the_config(path: Path) -> None:
    search = read_space(path)
    point = search.space.point(np.full(search.space.dim, 0.9))
    plain = of_point(search, point).plain()
    for name, value in point.items():
        if all(found(plain, key) in among for key, among in search.only[name].items()):
            assert found(plain, name) == value, name


def found(plain: dict, name: str) -> object:
    """The value of a dotted key, or of a number of a list."""
    key, _, index = name.rstrip("]").partition("[")
    for part in key.split("."):
        plain = plain[part]
    return plain[int(index)] if index else plain


def test_the_prior_of_the_rate_is_the_step_law_of_its_base() -> None:
    search = read_space(CONFIGS / "rate.toml")
    config = load(search.base)
    model = models.build(config.model, 0)
    kinds = model.kinds()
    inner = sum(p.numel() for n, p in model.named_parameters() if kinds[n] == "matrix")
    rate = step_law_rate(inner, config.total_steps * config.step_tokens)
    assert search.prior["optimizer.lr"] == pytest.approx(rate, rel=0.03)
    text = (CONFIGS / "rate.toml").read_text()
    assert f"{inner:_}".replace("_", " ") in re.sub(r"\n# ", " ", text)


def test_the_step_law_is_that_of_its_paper() -> None:
    # 1 B parameters, 100 B tokens: 1.79 * 1e9^-0.713 * 1e11^0.307
    assert step_law_rate(1e9, 1e11) == pytest.approx(1.79 * 10 ** (-0.713 * 9 + 0.307 * 11))


def written(tmp_path: Path, text: str) -> Path:
    (tmp_path / "base.toml").write_text("[run]\nsteps = 3\n")
    path = tmp_path / "space.toml"
    path.write_text(f'base = "base.toml"\n{text}')
    return path


RATE = '[space."optimizer.lr"]\ntype = "float"\nlow = 1e-4\nhigh = 1e-2\nlog = true\n'


def test_a_spread_is_a_factor_where_the_search_is_logarithmic(tmp_path: Path) -> None:
    search = read_space(written(tmp_path, RATE + "prior = 2e-3\nspread = 10.0\n"))
    assert search.sigma0.tolist() == pytest.approx([0.5])
    assert isinstance(search.space.parameters["optimizer.lr"], Float)
    linear = '[space."run.clip"]\ntype = "float"\nlow = 0.0\nhigh = 4.0\nspread = 1.0\n'
    search = read_space(written(tmp_path, linear))
    assert search.sigma0.tolist() == [0.25]
    assert search.prior == {"run.clip": 2.0}  # the middle


def test_a_parameter_counts_only_where_its_condition_holds(tmp_path: Path) -> None:
    tail = '[space."schedule.tail"]\ntype = "categorical"\nchoices = ["linear", "cosine"]\n'
    kind = '[space."schedule.kind"]\ntype = "categorical"\nchoices = ["wsd", "cosine"]\n'
    search = read_space(written(tmp_path, tail + "only = {'schedule.kind' = ['wsd']}\n" + kind))
    for schedule in ("wsd", "cosine"):
        point = {"schedule.tail": "cosine", "schedule.kind": schedule}
        plain = apply(search, point, {"run": {"steps": 3}})
        assert ("tail" in plain["schedule"]) == (schedule == "wsd")
        config_of(plain, "it")


def test_the_base_is_left_as_it_is_and_lists_grow(tmp_path: Path) -> None:
    knot = '[space."optimizer.target_ratio[2]"]\ntype = "float"\nlow = 0.0\nhigh = 2.0\n'
    search = read_space(written(tmp_path, knot))
    base = {"optimizer": {"kind": "adamwn", "target_ratio": [1.0, 1.0]}}
    plain = apply(search, {"optimizer.target_ratio[2]": 0.5}, base)
    assert plain["optimizer"]["target_ratio"] == [1.0, 1.0, 0.5]
    assert base["optimizer"]["target_ratio"] == [1.0, 1.0]
    assert math.isclose(search.sigma0[0], 0.2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[space", "space.toml"),
        ("", "must hold base"),
        (RATE + "[more]\n", "must hold base"),
        (RATE + "prior = 1.0\n", r"prior of optimizer\.lr: .* must be in \[0\.0001, 0\.01\]"),
        (RATE + "spread = 1.0\n", r"\[optimizer\.lr\] spread must be a factor above 1; got 1\.0"),
        (RATE + "spread = 'x'\n", "spread must be a factor above 1; got 'x'"),
        (RATE + "only = 3\n", "only must be like"),
        (RATE.replace("low", "lo"), r"\[optimizer\.lr\] unknown key 'lo'; did you mean 'low'"),
        (RATE.replace("optimizer.lr", "optimizer lr"), "must be a key such as"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(text: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=expected) as caught:
        read_space(written(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_point_of_other_parameters_is_refused(tmp_path: Path) -> None:
    search = read_space(written(tmp_path, RATE))
    with pytest.raises(ConfigurationError, match=r"must name optimizer\.lr"):
        apply(search, {"optimizer.lrr": 1e-3}, {})
    with pytest.raises(ConfigurationError, match="leads through 'optimizer', no table"):
        apply(search, {"optimizer.lr": 1e-3}, {"optimizer": 3})
