"""Loss curves: what is drawn of which runs, and what cannot be drawn."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from training import tiny

from evoopt.cli import main
from evoopt.errors import StateError
from evoopt_llm.pictures import by_method, curves, figure, median, read_curve


def run_of(folder: Path, losses: list[float], seed: int, lr: float = 1e-3) -> Path:
    """A folder as a run leaves it: held-out losses in nats after 100, 200, ... tokens."""
    folder.mkdir()
    plain = tiny("cache", run={"seed": seed}, optimizer={"kind": "adamw", "lr": lr}).plain()
    (folder / "config.json").write_text(json.dumps(plain))
    rows = [
        {"kind": kind, "step": i, "tokens": 100 * i, "loss": loss * scale}
        for i, loss in enumerate(losses, 1)
        for kind, scale in (("train", 0.9), ("valid", 1.0))
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_losses_are_drawn_in_bits_per_byte_against_tokens(tmp_path: Path) -> None:
    curve = read_curve(run_of(tmp_path / "a", [2.0, 1.0], 1))
    axis = figure(by_method([curve])).axes[0]
    thin, line = axis.lines
    assert np.allclose(line.get_xydata(), [[100, 2 / np.log(2)], [200, 1 / np.log(2)]])
    assert np.allclose(thin.get_ydata(), 0.9 * np.asarray(line.get_ydata()))
    assert line.get_label() == "a: 1.443"


def test_runs_that_differ_in_the_seed_alone_are_one_method_with_its_median(tmp_path: Path) -> None:
    folders = [run_of(tmp_path / f"adamw-seed{i}", [3.0, 2.0 + i], i) for i in (0, 1, 5)]
    other = run_of(tmp_path / "fast", [2.5, 1.5], 0, lr=1e-2)
    methods = by_method([read_curve(folder) for folder in (*folders, other)])
    assert list(methods) == ["adamw (3 seeds)", "fast"]
    at, bits = median([curve.valid for curve in methods["adamw (3 seeds)"]])
    assert at.tolist() == [100.0, 200.0]
    assert np.allclose(bits, np.array([3.0, 3.0]) / np.log(2))


def test_the_median_is_taken_where_all_runs_have_a_report() -> None:
    one = (np.array([1.0, 2.0, 3.0]), np.array([5.0, 4.0, 3.0]))
    other = (np.array([2.0, 3.0, 4.0]), np.array([2.0, 1.0, 0.0]))
    at, bits = median([one, other])
    assert (at.tolist(), bits.tolist()) == ([2.0, 3.0], [3.0, 2.0])


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_the_command_draws_them_and_says_where(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(tmp_path / "a", [2.0, 1.0], 1)
    out = tmp_path / f"loss.{suffix}"
    assert main(["plot", "loss", str(run), "-o", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert out.stat().st_size > 1000


def test_a_folder_without_a_training_run_is_refused_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plot", "loss", str(tmp_path)]) == 4
    assert "config.json cannot be opened" in capsys.readouterr().err
    run = run_of(tmp_path / "a", [], 1)
    with pytest.raises(StateError, match="no report yet"):
        read_curve(run)
    assert main(["plot", "loss", str(run), "-o", str(tmp_path / "loss.gif")]) == 2


def test_a_line_that_a_killed_process_left_is_dropped(tmp_path: Path) -> None:
    run = run_of(tmp_path / "a", [2.0, 1.0], 1)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "valid", "st')
    assert len(read_curve(run).valid[0]) == 2
    text = (run / "metrics.jsonl").read_text()
    (run / "metrics.jsonl").write_text("{]\n" + text)
    with pytest.raises(StateError, match="line 1 is damaged"):
        read_curve(run)


def test_runs_whose_folders_have_one_name_are_all_drawn_under_their_shortest_tails(
    tmp_path: Path,
) -> None:
    folders = []
    for top, lr in (("a/x", 1e-3), ("b/x", 2e-3), ("b/y", 3e-3)):
        (tmp_path / top).mkdir(parents=True)
        folders.append(run_of(tmp_path / top / "run", [2.0, 1.0], 1, lr=lr))
    folders.append(run_of(tmp_path / "other", [2.0, 1.0], 1, lr=4e-3))
    methods = by_method(curves(folders))
    assert list(methods) == ["a/x/run", "b/x/run", "y/run", "other"]


def test_a_run_that_is_named_twice_is_drawn_once_and_is_no_second_seed(tmp_path: Path) -> None:
    run = run_of(tmp_path / "a", [2.0, 1.0], 1)
    (tmp_path / "link").symlink_to(run)
    again = run.parent / "nothing" / ".." / "a"
    (tmp_path / "nothing").mkdir()
    methods = by_method(curves([run, again, tmp_path / "link", run]))
    assert {name: len(own) for name, own in methods.items()} == {"a": 1}


def test_methods_whose_runs_begin_alike_are_told_apart(tmp_path: Path) -> None:
    folders = [
        run_of(tmp_path / f"try-{i}", [2.0, 1.0], i, lr=lr)
        for i, lr in ((1, 1e-3), (2, 2e-3), (3, 1e-3), (4, 2e-3))
    ]
    assert list(by_method(curves(folders))) == ["try (2 seeds)", "try, method 2 (2 seeds)"]


def test_seeds_in_folders_of_their_own_are_called_by_what_holds_them(tmp_path: Path) -> None:
    folders = []
    for top, lr in (("adamw", 1e-3), ("sgd", 2e-3)):
        (tmp_path / top).mkdir()
        folders += [run_of(tmp_path / top / f"seed{i}", [2.0], i, lr=lr) for i in (1, 2)]
    assert list(by_method(curves(folders))) == ["adamw (2 seeds)", "sgd (2 seeds)"]


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"run": 3, "data": {}}, None),
        ({"run": {}, "data": []}, None),
        ([1], None),
        (None, {"kind": "train", "step": 1, "tokens": 1, "loss": "x"}),
        (None, {"kind": "valid", "step": 1, "loss": 1.0}),
        (None, {"kind": "valid", "step": 1, "tokens": [1], "loss": 1.0}),
        (None, [1]),
        (None, 3),
    ],
    ids=str,
)
def test_values_of_another_type_in_a_run_are_refused_in_a_line(
    config: object, line: object, tmp_path: Path
) -> None:
    run = run_of(tmp_path / "a", [2.0, 1.0], 1)
    if config is not None:
        (run / "config.json").write_text(json.dumps(config))
    if line is not None:
        (run / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(StateError) as caught:
        read_curve(run)
    assert "\n" not in str(caught.value)


def test_a_number_beyond_a_float_is_refused_in_a_line(tmp_path: Path) -> None:
    run = run_of(tmp_path / "a", [2.0, 1.0], 1)
    report = {"kind": "train", "step": 1, "tokens": 10**400, "loss": 1.0}
    (run / "metrics.jsonl").write_text(json.dumps(report) + "\n")
    with pytest.raises(StateError, match=r"metrics\.jsonl is damaged"):
        read_curve(run)


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from evoopt.cli import main
sys.exit(main(["plot", "loss", sys.argv[1], "-o", "loss.svg"]))
"""


def test_without_the_extra_a_line_names_it(tmp_path: Path) -> None:
    run = run_of(tmp_path / "a", [2.0, 1.0], 1)
    command = [sys.executable, "-c", WITHOUT_TORCH, str(run)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 5
    assert ".[llm]" in done.stderr
    assert done.stderr.count("\n") == 1
