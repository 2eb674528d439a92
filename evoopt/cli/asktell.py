"""`evoopt ask` and `evoopt tell`: a search driven by a program in any language."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.core import ParameterSource

from evoopt.cli import console
from evoopt.cli.minimize import function_words
from evoopt.cli.options import algorithm_names, as_json, run_argument
from evoopt.errors import ConfigurationError

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

    from evoopt.turns import Turn, Words

FAILED = "failed"
Told = float | list[float] | None  # a value, those of several objectives, or none
_MISSING = (  # words of minimize that say how a function is evaluated: here nobody knows
    "time_limit", "eval_timeout", "isolate", "vectorized", "engine", "ray_address", "gpus",
    "asynchronous",
)  # fmt: skip
_LOOP = (
    "Example:  evoopt ask runs/a --dim 3 --bounds -5 5   prints an id and x1 x2 x3, and "
    "evoopt tell runs/a 0 12.5   tells the value of candidate 0"
)


@click.command(epilog=_LOOP)
@run_argument
@click.option(
    "-n", "--number", type=int, default=1, metavar="K", help="So many at most [default: 1]."
)
@click.option("--open", "again", is_flag=True, help="Those asked and not told yet, once more.")
@click.option("--dim", metavar="N", help="Variables. This and what follows begins a run.")
@click.option("--bounds", nargs=2, multiple=True, metavar="LO HI", help="As in minimize.")
@click.option(
    "--space",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Named parameters; lines are then ID NAME=VALUE ...",
)
@click.option("--x0", metavar="X,X,...", help="Start [default: centre of the bounds].")
@click.option("--sigma0", metavar="S", help="Initial step size, or one per variable.")
@click.option(
    "--algorithm",
    default="auto",
    metavar="NAME",
    help="See evoopt list algorithms [default: auto].",
    shell_complete=algorithm_names,
)
@click.option("--popsize", type=int, metavar="N", help="Candidates a generation.")
@click.option("--set", "own", multiple=True, metavar="NAME=VALUE", help="As in minimize.")
@click.option("--restarts", metavar="POLICY", help="none, ipop or bipop.")
@click.option("--seed", type=int, metavar="N", help="[default: drawn, and kept]")
@click.option("--warm-start", metavar="RUN|FILE", help="As in minimize.")
@click.option("--maximize", is_flag=True, help="Search for the largest value.")
@click.option("--objectives", type=int, metavar="M", help="Values of each candidate [default: 1].")
@click.option("--reference", metavar="F,F,...", help="As in minimize.")
@click.option("--sense", metavar="min,max,...", help="Of each of several objectives.")
@click.option("--budget", metavar="N", help="Evaluations [default: 10000D].")
@click.option("--target", metavar="F", help="A value at which the search is over.")
@click.option("--max-failures", type=int, metavar="N", help="Failed evaluations tolerated.")
@click.option(
    "--workers",
    "worker_text",
    metavar="N",
    help="How many you evaluate at the same time: each value is used as it comes.",
)
@as_json
@click.pass_context
def ask(
    context: click.RichContext,
    /,
    run: Path,
    number: int,
    again: bool,
    json: bool,
    **given: Any,
) -> None:
    """Print candidates to evaluate, each a line: its id, and x.

    The first call begins RUN and needs --dim, --bounds, --x0 or --space; later ones may repeat
    these words. Once the search is over nothing is printed on stdout.
    """
    from evoopt.cli.spacefile import space_of
    from evoopt.turns import take_turn

    said = [n for n in given if context.get_parameter_source(n) is ParameterSource.COMMANDLINE]
    if number < 1:
        raise ConfigurationError(f"--number must be a whole number >= 1; got {number}")
    with take_turn(run, _words(given) if said else None, space_of) as turn:
        rows = turn.open()[:number] if again else turn.ask(number)
        stop, space, state = turn.stop, turn.space, _state(turn)
    points = [None if space is None else space.point(x) for _, x in rows]
    if json:
        found = [
            {"id": i, "x": x.tolist(), **({} if point is None else {"point": point})}
            for (i, x), point in zip(rows, points, strict=True)
        ]
        console.document({"candidates": found, **state})
        return
    for (i, x), point in zip(rows, points, strict=True):
        values = map(repr, x.tolist())
        print(i, *(values if point is None else map(_named, point.items())))
    left = state["open"]
    if stop is not None:
        console.note(f"the search is over: {stop}; see evoopt show {run}")
    elif not rows:
        console.note(f"nothing to ask before more is told: {left} open (evoopt ask {run} --open)")
    elif len(rows) < number and not again:
        console.note(
            f"{len(rows)} of {number}: for the rest, values have to come first; a run begun with "
            f"--workers {number} has always more to ask, up to its budget"
        )


@click.command(
    epilog="Example:  evoopt tell runs/a 0 12.5 1 failed   or with two objectives: 0 12.5 3.1   or "
    "JSON lines: evoopt tell runs/a -",
    context_settings={"ignore_unknown_options": True},  # -1.5 is a value
)
@run_argument
@click.argument("pairs", metavar="ID VALUE ...", nargs=-1, required=True)
@as_json
def tell(run: Path, pairs: tuple[str, ...], json: bool) -> None:
    """Tell the values of candidates, in any order.

    VALUE is a number, or as many as there are objectives, or nan or failed for an evaluation
    without one. With - they are read from stdin, each line like {"id": 3, "value": 1.5}, or [1.5,
    2.5] with two objectives. Says so when the search is over.
    """
    from evoopt.cli.spacefile import space_of
    from evoopt.turns import take_turn

    lines = list(sys.stdin) if pairs == ("-",) else None
    with take_turn(run, None, space_of) as turn:
        turn.tell(_from_words(pairs, turn.n_obj) if lines is None else _from_lines(lines))
        stop = turn.stop
        document = _state(turn)
    if json:
        console.document(document)
    elif stop is not None:
        print(f"stop: {console.plain(str(stop))}")


def _words(given: dict[str, Any]) -> Words:
    """What a new search is asked for."""
    from evoopt.bounds import check_bounds
    from evoopt.earlier import evaluations
    from evoopt.settings import Settings
    from evoopt.turns import Words

    words = function_words({**dict.fromkeys(_MISSING), **given})
    space, box, dim = words.pop("space"), words.pop("bounds"), words.pop("dim")
    lower, upper = check_bounds(box, dim) if space is None else (space.lower, space.upper)
    if words["warm_start"] is not None:
        words["warm_start"] = evaluations(words["warm_start"], space, words["objectives"] or 1)
    words |= {"isolate": None, "asynchronous": words["workers"] > 1, "batches": True}
    return Words(lower, upper, Settings(**words), space)


def _state(turn: Turn) -> dict[str, Any]:
    """Where the search stands."""
    result, stop = turn.result, turn.stop
    x: NDArray[float64] | None = result.x
    front: dict[str, Any] = {}
    if result.front is not None:
        front = {"front_size": len(result.front), "hypervolume": result.hypervolume}
    return {
        "evaluations": turn.evaluations,
        "open": len(turn.open()),
        "f": result.f if result.front is None else result.f.tolist(),
        "x": None if x is None else x.tolist(),
        **front,
        "seed": turn.seed,
        "stop": None if stop is None else {"criterion": stop.criterion, "message": str(stop)},
    }


def _named(item: tuple[str, Any]) -> str:
    """NAME=VALUE as a word of a shell script."""
    name, value = item
    return f"{name}={value if isinstance(value, str) else jsonlib.dumps(value, default=str)}"


def _from_words(words: tuple[str, ...], n_obj: int) -> dict[int, Told]:
    """Ids, each followed by its value, its n_obj values, or the word for none."""
    pairs: list[tuple[int, Told]] = []
    left = list(words)
    while left:
        i, rest = left[0], left[1:]
        count = 1 if rest[:1] == [FAILED] else n_obj
        if len(rest) < count:
            what = "pairs of ID and VALUE" if n_obj == 1 else f"ID and {n_obj} VALUES each"
            raise ConfigurationError(
                f"tell must be given {what}; got {len(words)} words: {' '.join(words)}"
            )
        told = [_value(text) for text in rest[:count]]
        pairs.append((_id(i), _whole(told) if count > 1 else told[0]))
        left = rest[count:]
    return _unique(pairs)


def _from_lines(lines: Iterable[str]) -> dict[int, Told]:
    """JSON lines of ids and values."""
    return _unique(_from_line(line) for line in lines if line.strip())


def _from_line(line: str) -> tuple[int, Told]:
    expected = 'a JSON object like {"id": 3, "value": 1.5}'
    try:
        content = jsonlib.loads(line)
        i, value = content["id"], content["value"]
    except (ValueError, KeyError, TypeError):
        raise ConfigurationError(f"each line must be {expected}; got {line.strip()[:80]}") from None
    if isinstance(value, list):
        return _id(str(i)), _whole([_value(str(part)) for part in value])
    return _id(str(i)), None if value is None else _value(str(value))


def _whole(values: list[float | None]) -> Told:
    """The values of several objectives; None where one of them has failed."""
    numbers = [value for value in values if value is not None]
    return numbers if len(numbers) == len(values) else None


def _id(text: str) -> int:
    if not text.isdecimal():
        raise ConfigurationError(f"ID must be a whole number that ask has printed; got '{text}'")
    return int(text)


def _value(text: str) -> float | None:
    if text == FAILED:
        return None
    try:
        return float(text)
    except ValueError:
        raise ConfigurationError(
            f"VALUE must be a number, nan or {FAILED}; got '{text[:80]}'"
        ) from None


def _unique(pairs: Iterable[tuple[int, Told]]) -> dict[int, Told]:
    values: dict[int, Told] = {}
    for i, value in pairs:
        if i in values:
            raise ConfigurationError(f"tell must name each id once; got {i} twice")
        values[i] = value
    if not values:
        raise ConfigurationError("tell must be given a value; got none")
    return values
