"""Laws of the engine `process`: a program costs at most its evaluation, and nothing stays."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from evoopt.errors import ConfigurationError, ObjectiveError
from evoopt.evaluators import make_evaluator
from evoopt.evaluators.base import merged
from evoopt.evaluators.printed import value_in
from evoopt.evaluators.programs import Program, ProgramProblem
from evoopt.evaluators.slot import KEPT, TAIL
from evoopt.evaluators.slots import _shares
from evoopt.evaluators.tasks import Outcome
from evoopt.problem import FunctionProblem
from evoopt.result import INVALID, KILLED, NAN, NEGINF, POSINF, RAISED, TIMEOUT

PATIENCE = 60.0  # seconds; reached only where something hangs
ROOT = Path(__file__).parents[2]


def box(dim):
    return np.full(dim, -np.inf), np.full(dim, np.inf)


def script(text, dim=1, **options):
    """A program that the shell runs; in it, $1 is x1, $2 is x2 and so on."""
    words = ["sh", "-c", text, "sh", *(f"{{x{i}}}" for i in range(1, dim + 1))]
    return ProgramProblem(Program(words), dim, *box(dim), **options)


def evaluated(evaluator, X, seeds=None, deadline=None):
    """F and failures of all rows of X by one submit, in the order of X."""
    evaluator.submit(np.arange(len(X)), X, seeds, deadline)
    batches, end = [], time.monotonic() + PATIENCE
    while sum(len(batch.ids) for batch in batches) < len(X):
        assert time.monotonic() < end, "the engine hangs"
        batch = evaluator.poll(1.0)
        batches += [batch] if batch else []
    whole = merged(batches)
    order = np.argsort(whole.ids)
    assert whole.ids[order].tolist() == list(range(len(X)))
    return whole.values.F[order], {int(whole.ids[i]): f for i, f in whole.values.failures.items()}


@pytest.fixture
def engine():
    """Makes evaluators, and closes them."""
    made = []

    def make(problem, workers=2, **options):
        made.append(make_evaluator("process", problem, workers, **options))
        return made[-1]

    yield make
    for evaluator in made:
        evaluator.close()


def once(engine, text, deadline=None, **options):
    """The value of a script, or what failed."""
    evaluator = engine(script(text), 1, **options)
    F, failures = evaluated(evaluator, np.zeros((1, 1)), deadline=deadline)
    return failures.get(0, F[0])


def is_gone(pid):
    """Whether a process ends within some seconds; a zombie counts as ended."""
    for _ in range(500):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


def pids_in(file, count):
    """Process ids that a program writes into a file, one a line."""
    end = time.monotonic() + PATIENCE
    while not file.exists() or file.read_text().count("\n") < count:
        assert time.monotonic() < end, "the program does not start"
        time.sleep(0.01)
    return [int(line) for line in file.read_text().split()]


def test_numbers_come_to_a_program_and_back_with_every_bit(engine):
    X = np.random.Generator(np.random.Philox(1)).normal(size=(20, 1))
    X *= 10.0 ** np.arange(-300, 300, 30)[:, None]
    F, failures = evaluated(engine(script('echo "$1"')), X)
    assert not failures
    np.testing.assert_array_equal(F, X[:, 0])


@pytest.mark.parametrize(
    ("words", "argv"),
    [
        (["true", "{x1}", "{x2}"], ["true", "0.5", "-1e-07"]),
        (["true", "{x}"], ["true", "0.5", "-1e-07"]),
        (["true", "--x={x}", "{x1}{x1}"], ["true", "--x=0.5,-1e-07", "0.50.5"]),
        (["true", '{"a": {x1}, "s": {seed}, "i": {id}}', "{x}"],
         ["true", '{"a": 0.5, "s": 7, "i": 3}', "0.5", "-1e-07"]),
        ("true '{{x1}} {x1}' {x} '{ print }'", ["true", "{x1} 0.5", "0.5", "-1e-07", "{ print }"]),
    ],
)  # fmt: skip
def test_placeholders_stand_for_numbers_and_braces_in_pairs_for_themselves(words, argv):
    assert Program(words).argv(np.array([0.5, -1e-7]), 7, 3) == argv


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "must name a program; got nothing"),
        ("true 'a", "must be words as a shell reads them; got 'true 'a' (No closing quotation)"),
        (3, "must be a text, or a list of texts; got 3 (int)"),
        (["true"], "must hold {x}, or {x1}, {x2} and so on; got 'true'"),
        (["true", "{lr}"], "got {lr}; {{lr}} stands for the text itself"),
        (["true", "{x0}"], "got {x0};"),
        (["no-such-program", "{x}"], "got 'no-such-program', which is not there"),
        (["./plain", "{x}"], "got './plain', which is not executable; chmod +x ./plain"),
        (["plain", "{x}"], "got 'plain', which is not on the PATH; did you mean ./plain?"),
        (["./folder", "{x}"], "got './folder', a folder"),
    ],
)
def test_words_that_cannot_be_run_are_refused_in_one_line(words, message, tmp_path, monkeypatch):
    (tmp_path / "plain").write_text("no program")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError) as refusal:
        Program(words)
    assert str(refusal.value).startswith("Program(words=...) ")
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("last", "dim"), [(1, 2), (3, 2)])
def test_placeholders_must_be_those_of_the_variables(last, dim):
    program = Program(["true", *(f"{{x{i}}}" for i in range(1, last + 1))])
    with pytest.raises(ConfigurationError, match=r"must hold \{x1\} to \{x2\} for 2 variables"):
        ProgramProblem(program, dim, *box(dim))
    with pytest.raises(ConfigurationError, match=r"every variable up to x3; got no \{x2\}"):
        _ = Program(["true", "{x1}", "{x3}"]).dim


@pytest.mark.parametrize(
    ("printed", "value"),
    [
        ("3", 3.0),
        ("step 1: 5.0\nf = -.5e-3, done.", -0.0005),
        ("took 20ms for x1, v1\n7 of x2", 7.0),
        ("é: 3.", 3.0),
        ("  1.5D+02", 150.0),
        ("1e999", POSINF),
        ("f: nan", NAN),
        ("f: -inf\ninfo: end of banana", NEGINF),
        ('17\n{"f": 2.5, "other": 9}\n', 2.5),
        ('{"value": 4}', 4.0),
        ('{"f": NaN}', NAN),
        ('{"x": [1, 2]}', "printed JSON without 'f'; its keys: 'x'"),
        ('{"f": "3"}', "JSON must hold a number as 'f'; got '3' (str)"),
        ('{"f": true}', "got True (bool)"),
        ("{broken 3", 3.0),
        ("", "the program printed nothing"),
        ("no value", "the program printed no number; it said: no value"),
        ("\\377\\0\\1", "the program printed no number"),
    ],
)
def test_the_last_number_on_stdout_is_the_value(engine, printed, value):
    got = once(engine, f"printf '{printed}' && echo 99 >&2")
    if isinstance(value, float):
        assert got == value
    elif value in (NAN, POSINF, NEGINF):
        assert got.kind == value
    else:
        assert got.kind == RAISED
        assert value in got.message


def test_reading_takes_time_linear_in_what_was_printed():
    text = "1" * 60_000 + "a" + "1." * 2_000 + " 7"  # a naive expression tries for hours
    assert value_in(Outcome(0.0, code=0, printed=len(text), out=text)) == (7, None)


def test_what_is_left_of_a_line_that_was_cut_is_no_number():
    text = "3" * TAIL
    assert value_in(Outcome(0.0, code=0, printed=TAIL + 1, out=text))[1].kind == RAISED
    text = "3" * (TAIL - 3) + "\n8\n"
    assert value_in(Outcome(0.0, code=0, printed=TAIL + 1, out=text)) == (8, None)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("echo 1; echo no such mesh >&2; exit 3", RAISED,
         "the program ended with exit code 3; it said: no such mesh"),
        ("echo 1; kill -SEGV $$", KILLED, "the program ended by SIGSEGV; it said: 1"),
        ("kill -9 0", KILLED, "the program ended by SIGKILL"),
        ("sleep 1000", TIMEOUT, "did not end within 0.2 s"),
        ("trap '' TERM INT; while :; do :; done", TIMEOUT, "did not end within 0.2 s"),
    ],
)  # fmt: skip
def test_a_program_that_fails_costs_its_evaluation_alone(engine, text, kind, message):
    evaluator = engine(script(f'if [ "$1" = 1.0 ]; then {text}; fi; echo "$1"'), 2)
    deadline = 0.2 if kind == TIMEOUT else None
    F, failures = evaluated(evaluator, np.array([[0.0], [1], [2], [3]]), deadline=deadline)
    assert {row: (f.kind, f.message) for row, f in failures.items()} == {1: (kind, message)}
    np.testing.assert_array_equal(F, [0, np.nan, 2, 3])


def test_a_file_that_the_system_cannot_execute_is_a_failed_evaluation(engine, tmp_path):
    (tmp_path / "text").write_text("no shebang\n")
    (tmp_path / "text").chmod(0o700)
    problem = ProgramProblem(Program([str(tmp_path / "text"), "{x}"]), 1, *box(1))
    _, failures = evaluated(engine(problem), np.zeros((2, 1)))
    assert failures[0].kind == RAISED
    assert failures[0].message == "the program cannot be started: Exec format error"
    (tmp_path / "text").unlink()
    _, failures = evaluated(engine(problem), np.zeros((1, 1)))
    assert failures[0].message == "the program cannot be started: No such file or directory"


def test_output_without_end_takes_neither_memory_nor_disk(engine, tmp_path):
    evaluator = engine(script("head -c 100000000 /dev/zero; echo; echo 7"), 1, folder=tmp_path)
    F, _ = evaluated(evaluator, np.zeros((1, 1)))
    assert F[0] == 7
    kept = (tmp_path / "0" / "stdout").read_bytes()
    assert KEPT < len(kept) < KEPT + TAIL + 100
    assert kept.endswith(b"\n7\n")
    status = Path(f"/proc/{evaluator._slots[0].process.pid}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    assert int(peak.split()[1]) < 50_000  # kB


@pytest.mark.parametrize("ends", ["", "exit 0"], ids=["at the deadline", "after its end"])
def test_what_a_program_starts_is_killed_in_whatever_group_or_session(engine, tmp_path, ends):
    # a child, a child of its own session, and an orphan of a third one
    text = f"""
    sleep 1000 & echo $! >> {tmp_path}/pids
    setsid sh -c 'echo $$ >> {tmp_path}/pids; exec sleep 1000' &
    (setsid sh -c 'echo $$ >> {tmp_path}/pids; exec sleep 1000' &)
    while [ $(wc -l < {tmp_path}/pids) -lt 3 ]; do :; done
    echo 5
    {ends}
    sleep 1000
    """
    got = once(engine, text, deadline=PATIENCE if ends else 0.5)
    assert got == 5 if ends else got.kind == TIMEOUT
    assert all(is_gone(pid) for pid in pids_in(tmp_path / "pids", 3))


def test_cancel_and_close_kill_what_runs_and_leave_no_process_and_no_file(engine, tmp_path):
    files = len(os.listdir("/proc/self/fd"))
    evaluator = engine(script(f"echo $$ >> {tmp_path}/pids; sleep 1000"), 2)
    assert len(os.listdir("/proc/self/fd")) == files  # started when there is work
    for end in (evaluator.cancel, evaluator.close):
        evaluator.submit(np.arange(3), np.zeros((3, 1)), None, None)
        pids = pids_in(tmp_path / "pids", 2)
        slots = [slot.process.pid for slot in evaluator._slots]
        assert evaluator.poll(0.01) is None
        end()
        assert all(is_gone(pid) for pid in [*pids, *slots])
        assert evaluator.poll(PATIENCE) is None  # at once: nothing is queued
        (tmp_path / "pids").unlink()
    assert len(os.listdir("/proc/self/fd")) == files


@pytest.mark.parametrize("busy", [True, False])
def test_a_slot_that_dies_costs_no_row(engine, tmp_path, busy):
    wait = f"[ -e {tmp_path}/pids ] || {{ echo $$ > {tmp_path}/pids; sleep 1000; }}; "
    evaluator = engine(script(f'{wait if busy else ""} echo "$1"'), 1)
    if busy:
        evaluator.submit(np.array([0]), np.full((1, 1), 4.0), None, None)
        pids = pids_in(tmp_path / "pids", 1)
    else:
        pids = []
        evaluated(evaluator, np.zeros((1, 1)))
    os.kill(evaluator._slots[0].process.pid, signal.SIGKILL)
    if not busy:
        evaluator.submit(np.array([0]), np.full((1, 1), 4.0), None, None)
    batch = evaluator.poll(PATIENCE)
    assert batch.values.F.tolist() == [4]
    assert all(is_gone(pid) for pid in pids)


def test_a_row_whose_slot_always_dies_fails_after_its_retries(engine):
    F, failures = evaluated(engine(script("kill -9 $PPID; sleep 1000"), 1), np.zeros((1, 1)))
    assert np.isnan(F[0])
    assert failures[0].kind == KILLED
    assert failures[0].message == "its slot died 4 times, at last by SIGKILL"


DRIVER = """
import sys
import numpy as np
from evoopt.evaluators import make_evaluator
from evoopt.evaluators.programs import Program, ProgramProblem
words = ["sh", "-c", sys.argv[1], "sh", "{x}"]
problem = ProgramProblem(Program(words), 1, np.zeros(1), np.ones(1))
engine = make_evaluator("process", problem, 2)
engine.submit(np.arange(2), np.zeros((2, 1)), None, None)
engine.poll(1000)
"""


def test_programs_and_what_they_started_die_with_the_driver(tmp_path):
    text = f"sleep 1000 & echo $! >> {tmp_path}/pids; echo $$ >> {tmp_path}/pids; sleep 1000"
    (tmp_path / "driver.py").write_text(DRIVER)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, tmp_path / "driver.py", text], env=environment
    ) as driver:
        pids = pids_in(tmp_path / "pids", 4)
        driver.kill()
    assert all(is_gone(pid) for pid in pids)


def test_slots_have_their_shares_of_processors_and_gpus(engine):
    assert _shares([0, 1, 2, 3, 4], 2) == [[0, 1], [2, 3, 4]]
    assert _shares([0, 1], 3) == [[0], [1], [0]]
    assert _shares([], 2) == [[], []]
    mine = sorted(os.sched_getaffinity(0))
    text = "grep Cpus_allowed_list /proc/self/status | cut -f 2 | cut -d - -f 1 | cut -d , -f 1"
    evaluator = engine(script(text), len(mine))
    F, _ = evaluated(evaluator, np.zeros((4 * len(mine), 1)))
    assert set(F.astype(int)) <= set(mine)
    assert sorted(cpus[0] for cpus in evaluator._cpus) == mine
    assert once(engine, "echo $OMP_NUM_THREADS") == len(mine)
    assert once(engine, "echo $CUDA_VISIBLE_DEVICES", gpus=[5]) == 5
    both = engine(script("sleep 0.05; echo $CUDA_VISIBLE_DEVICES"), 2, gpus=["3", "4"])
    assert set(evaluated(both, np.zeros((8, 1)))[0]) == {3, 4}


def test_what_a_program_prints_is_kept_for_its_owner_in_a_folder_for_each_evaluation(
    engine, tmp_path
):
    text = 'echo "$EVOOPT_ID"; echo oops >&2; [ -n "$EVOOPT_TRIAL" ] && touch "$EVOOPT_TRIAL/own"'
    evaluator = engine(script(text), 2, folder=tmp_path / "trials")
    evaluated(evaluator, np.zeros((2, 1)))
    for i in ("0", "1"):
        trial = tmp_path / "trials" / i
        assert (trial / "stdout").read_text() == f"{i}\n"
        assert (trial / "stderr").read_text() == "oops\n"
        assert stat.S_IMODE(trial.stat().st_mode) == 0o700
        assert stat.S_IMODE((trial / "stdout").stat().st_mode) == 0o600
        assert (trial / "own").exists()
    evaluated(engine(script("echo 1"), 1, folder=tmp_path / "no"), np.zeros((1, 1)))
    assert {file.name for file in (tmp_path / "no" / "0").iterdir()} == {"stdout"}


def test_a_program_runs_where_and_in_the_environment_that_it_was_given(tmp_path):
    (tmp_path / "run").write_text("#!/bin/sh\necho $FACTOR$1; cat\n")
    (tmp_path / "run").chmod(0o700)
    program = Program(["./run", "{x}"], cwd=str(tmp_path), env={"FACTOR": "1"})
    assert program([5]) == 15
    with pytest.raises(ConfigurationError, match=r"Program\(cwd=...\) must be a folder"):
        Program(["true", "{x}"], cwd=str(tmp_path / "none"))
    with pytest.raises(ObjectiveError, match=r"sh -c 'exit 2' \{x\}: the program ended with exit"):
        Program(["sh", "-c", "exit 2", "{x}"])([1.0])


def test_a_problem_evaluates_its_rows_in_order_with_seeds_and_sign():
    program = Program(["echo", "{x1}", "{seed}"])
    problem = ProgramProblem(program, 1, *box(1), maximize=True)
    assert problem.takes_seed
    values = problem.evaluate([[1.0], [2.0]], [2**63, 8])
    assert values.F.tolist() == [-(2.0**63), -8]
    assert len(problem.evaluate(np.empty((0, 1))).F) == 0


def odd(x):
    print("an objective may print", end="")
    if x[0] == 1:
        os._exit(0)
    if x[0] == 2:
        raise ValueError("no")
    return None if x[0] == 3 else float(os.getpid())


@pytest.mark.slow  # interpreters
def test_a_function_gets_an_interpreter_for_each_evaluation(engine, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    evaluator = engine(FunctionProblem(odd, 1, *box(1)), 2)
    F, failures = evaluated(evaluator, np.array([[0.0], [1], [2], [3], [0]]))
    assert {row: failure.kind for row, failure in failures.items()} == {
        1: KILLED, 2: RAISED, 3: INVALID,
    }  # fmt: skip
    assert failures[1].message == "its process ended with exit code 0 and without an answer"
    assert failures[2].message.startswith("ValueError: no (test_process_engine.py:")
    assert F[0] != F[4]
    evaluator.close()
    assert not list(tmp_path.iterdir())
