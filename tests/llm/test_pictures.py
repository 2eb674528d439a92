"""Loss curves: what is drawn of which runs, and what cannot be drawn."""

import json
from pathlib import Path

import numpy as np
import pytest
from training import tables

from evoopt.cli import main
from evoopt.errors import StateError
from evoopt_llm.pictures import by_method, figure, median, read_curve


def run_of(folder: Path, losses: list[float], seed: int, lr: float = 1e-3) -> Path:
    """A folder as a run leaves it: held-out losses in nats after 100, 200, ... tokens."""
    folder.mkdir()
    plain = tables("cache", run={"seed": seed}, optimizer={"kind": "adamw", "lr": lr})
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
