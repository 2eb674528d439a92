"""The loop: fill free slots by ask, apply results by tell, observe, until a reason to stop.

A synchronous search is the same loop with a barrier: nothing is asked before all rows of a
generation are in, and they are told in the order of their ids, so that neither the number of
workers nor their speed can change the course of a search. Without barrier each result is told when
it comes, whatever became of the generation that asked for it, and its worker gets a new candidate.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evoopt import rng
from evoopt.errors import Interrupted, ObjectiveError
from evoopt.evaluators.base import Batch, Evaluator, Following
from evoopt.journal import Journal, Pending, take, tell, waiting
from evoopt.objective import values_shape
from evoopt.observers.base import Observer
from evoopt.result import INTERRUPTED, INVALID, TIMEOUT, Failure, StopReason, Values
from evoopt.search import Search
from evoopt.signals import StopRequest
from evoopt.stragglers import Stragglers
from evoopt.strategies.base import Ids, Population
from evoopt.strategies.stopping import reason

Array = NDArray[np.float64]

_SLOW_SECONDS = 1e-3
_POLL_SECONDS = 0.1  # how soon a signal or the end of the time is noticed while workers are busy


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop, whatever the strategy says.

    Attributes:
        budget: evaluations; never exceeded. inf for none.
        target: the value to be reached, as minimised; -inf for none.
        seconds: of wall-clock time for this process.
        eval_timeout: seconds for one evaluation, or None.
        max_failures: failed evaluations that are tolerated.
    """

    budget: float = math.inf
    target: float = -math.inf
    seconds: float = math.inf
    eval_timeout: float | None = None
    max_failures: float = math.inf


class Runner:
    """One run of the loop; `run()` is all that is public.

    Args:
        search: where to start from; changed in place.
        evaluator: evaluates the rows of the problem.
        limits: see `Limits`.
        journal: the log, or None.
        pending: rows evaluated before this process, not told yet.
        observers: told of every row.
        callback: called after each generation; returning True asks to stop.
        request: signals that ask to stop.
        takes_seed: the objective wants a seed per evaluation.
        asynchronous: no barrier: each result is applied as it comes.
    """

    def __init__(
        self,
        search: Search,
        evaluator: Evaluator,
        limits: Limits,
        *,
        journal: Journal | None = None,
        pending: Pending | None = None,
        observers: tuple[Observer, ...] = (),
        callback: Callable[[Search], object] | None = None,
        request: StopRequest | None = None,
        takes_seed: bool = False,
        asynchronous: bool = False,
    ) -> None:
        self._search = search
        self._evaluator = evaluator
        self._limits = limits
        self._journal = journal
        self._pending: Pending = {} if pending is None else pending
        self._observers = observers
        self._callback = callback
        self._request = request or StopRequest(())
        self._takes_seed = takes_seed
        self._asynchronous = asynchronous
        self._flying = 0  # rows submitted, not returned
        self._slow = False  # an evaluation takes longer than handing its record to the system
        self._deadline = time.monotonic() + limits.seconds
        self._called_back = False
        self._called_in = search.strategy.generation(search.state)  # by the callback, the last time
        self._stragglers = Stragglers() if asynchronous else None

    def run(self) -> StopReason:
        """Loops until there is a reason to stop.

        Raises:
            Interrupted: SIGINT or SIGTERM, or KeyboardInterrupt in the objective; all is saved.
            ObjectiveError: the objective returned something that is no value; all is saved.
        """
        for observer in self._observers:
            observer.started(self._search)
        if self._search.strategy.claims.drawn and isinstance(self._evaluator, Following):
            self._evaluator.follow(self._search)
        self._resubmit()
        stop = self._reason()
        while stop is None:
            self._fill()
            batch = self._poll()
            if batch is not None:
                self._take_in(batch)
            elif self._stragglers is not None and self._left() <= 0:
                self._give_up(self._stragglers)
            self._serve_signals()
            stop = self._reason()
        if stop.criterion == "timeout":
            self._leave()  # as after a signal: with more time the run can go on exactly
        else:
            self._evaluator.cancel()
            self._tell_rest()
            if self._journal is not None:
                self._journal.trace(self._search)
                self._journal.snapshot(self._search, self._pending, force=True)
        if self._journal is not None:
            self._journal.stopped(stop)
        return stop

    def _resubmit(self) -> None:
        """Rows that an earlier process left open are evaluated with the same points and seeds."""
        if self._asynchronous and self._pending:  # killed between its evaluation and its tell
            self._tell_generation(np.array(list(self._pending), dtype=np.int64))
        rows = self._search.open_rows
        if rows is None:
            return
        left = [row for row, i in enumerate(rows.id.tolist()) if i not in self._pending]
        if left:
            self._submit(rows.take(np.array(left)))
        else:
            self._tell_generation(rows.id)

    def _fill(self) -> None:
        """Asks for as many candidates as there is use for."""
        search = self._search
        left = self._left()
        if self._asynchronous:
            wanted = min(self._evaluator.capacity - self._flying, left)
        else:
            wanted = 0 if self._flying else min(search.strategy.batch(search.state), left)
        if wanted > 0:
            rows = search.ask(int(wanted))
            if len(rows) == 0:
                return  # the method waits for what is being evaluated
            if self._asynchronous and self._journal is not None:
                self._journal.asked(rows)
            self._submit(rows)

    def _submit(self, rows: Population) -> None:
        seeds = None
        if self._takes_seed:
            seeds = [rng.evaluation_seed(self._search.seed, i) for i in rows.id.tolist()]
        self._evaluator.submit(rows.id, rows.X, seeds, self._limits.eval_timeout)
        self._flying += len(rows)
        if self._stragglers is not None:
            self._stragglers.submitted(rows.id)

    def _left(self) -> float:
        """Evaluations of the budget that are not under way yet."""
        search = self._search
        return self._limits.budget - search.evaluations - self._flying - len(self._pending)

    def _poll(self) -> Batch | None:
        wait = max(0.0, min(_POLL_SECONDS, self._deadline - time.monotonic()))
        if self._slow and self._journal is not None:
            self._journal.directory.flush()  # the next evaluation may take its time
        self._request.evaluating = True
        try:
            return None if self._request.signum else self._evaluator.poll(wait)
        except KeyboardInterrupt:  # between two evaluations: what was not returned is done again
            self._request.signum = self._request.signum or signal.SIGINT
            return None
        finally:
            self._request.evaluating = False

    def _take_in(self, batch: Batch) -> None:
        """Log what came; tell it at once, or if it completes a generation."""
        self._flying -= len(batch.ids)
        if self._stragglers is not None:
            self._stragglers.returned(batch.ids)
        self._slow = batch.seconds > _SLOW_SECONDS * len(batch.ids)
        done, fatal = _split(batch)
        if not self._asynchronous:
            self._complete(done, batch.seconds, bool(fatal))
        elif len(done.ids):
            self._keep(self._search.rows(done.ids), done, batch.seconds)
            self._tell_generation(done.ids)
        if fatal:
            self._fail(fatal)

    def _complete(self, done: Batch, seconds: float, fatal: bool) -> None:
        """Rows come in; the last ones of a generation complete it."""
        journal, rows = self._journal, self._search.open_rows
        assert rows is not None
        whole = len(done.ids) == len(rows) and not self._pending and not fatal
        if whole and (done.ids[:-1] < done.ids[1:]).all():
            if journal is not None and not journal.has_asked(rows):
                journal.generation(rows, done.values, seconds)
            elif journal is not None:
                journal.evaluated(done.ids, rows.X, done.values, seconds)
                journal.told(done.ids)
            self._tell(done.ids, done.values)
        elif len(done.ids):
            self._keep(rows, done, seconds)
            if len(self._pending) == len(rows):
                self._tell_generation(rows.id)

    def _keep(self, rows: Population, done: Batch, seconds: float) -> None:
        """Rows that wait for the rest of their generation."""
        if self._journal is not None:
            if not self._asynchronous:
                self._journal.asked(rows)
            place = {i: row for row, i in enumerate(rows.id.tolist())}
            X = rows.X[[place[i] for i in done.ids.tolist()]]
            self._journal.evaluated(done.ids, X, done.values, seconds)
        for row, i in enumerate(done.ids.tolist()):
            self._pending[i] = waiting(done.values, row)

    def _tell_generation(self, ids: Ids) -> None:
        """Pending rows enter the search together."""
        if self._journal is not None:
            self._journal.told(ids)
        self._tell(ids, take(self._pending, ids))

    def _tell(self, ids: Ids, values: Values) -> None:
        tell(self._search, ids, values, self._observers)
        if self._journal is not None:
            self._journal.trace(self._search)
            self._journal.snapshot(self._search, self._pending)
        if self._callback is not None and self._is_new_generation():
            self._called_back = self._called_back or bool(self._callback(self._search))

    def _is_new_generation(self) -> bool:
        """Whether the callback has not seen this one yet; with a barrier each tell makes one."""
        search, before = self._search, self._called_in
        if self._asynchronous:
            self._called_in = search.strategy.generation(search.state)
        return not self._asynchronous or before != self._called_in

    def _tell_rest(self) -> None:
        """What was paid for counts, though its generation stays incomplete."""
        if self._pending:
            self._tell_generation(np.array(sorted(self._pending), dtype=np.int64))

    def _give_up(self, stragglers: Stragglers) -> None:
        """Nothing is left to do but to wait, and at some time no more: the rows have failed."""
        if not stragglers.past_hope:
            return
        message = f"did not come back within {stragglers.waited:.0f} s after all others"
        self._evaluator.cancel()
        rows = self._search.open_rows
        assert rows is not None
        failures = dict.fromkeys(range(len(rows)), Failure(TIMEOUT, message))
        F = np.full(values_shape(len(rows), self._search.n_obj), np.nan)
        self._take_in(Batch(rows.id, Values(F, failures=failures), 0.0))

    def _serve_signals(self) -> None:
        if self._request.signum:
            self._interrupt()

    def _fail(self, failure: Failure) -> None:
        if failure.kind == INTERRUPTED:
            self._interrupt()
        self._leave()
        error = ObjectiveError(failure.message)
        error.numbers = failure.numbers
        raise error

    def _interrupt(self) -> None:
        self._leave()
        error = Interrupted("stopped on request; nothing evaluated is lost")
        error.exit_code = self._request.exit_code
        raise error

    def _leave(self) -> None:
        """Save all, and stop what is still being evaluated."""
        if self._journal is not None:
            rows = self._search.open_rows
            if rows is not None and not self._asynchronous:
                self._journal.asked(rows)  # the snapshot holds them, so the log must, too
            self._journal.snapshot(self._search, self._pending, force=True)
        self._evaluator.cancel()
        if self._pending:  # the result counts them; the log lets a resumed run tell them in time
            ids = np.array(sorted(self._pending), dtype=np.int64)
            tell(self._search, ids, take(self._pending, ids), self._observers)

    def _reason(self) -> StopReason | None:
        """Why to stop now, or None."""
        search, limits = self._search, self._limits
        if search.best_f <= limits.target:
            return reason("ftarget", search.best_f, limits.target)
        if self._called_back:
            return reason("callback", 1, 1)
        failures = sum(search.failures.values())
        if failures > limits.max_failures:
            return reason("maxfailures", failures, limits.max_failures)
        if self._flying == 0 and search.evaluations >= limits.budget:
            return reason("maxfevals", search.evaluations, limits.budget)
        if time.monotonic() >= self._deadline:
            return reason("timeout", limits.seconds, limits.seconds)
        return search.strategy.stop(search.state)


def _split(batch: Batch) -> tuple[Batch, Failure | None]:
    """The rows that are done, and the failure that ends the search, if there is one."""
    failures = batch.values.failures
    fatal = {row: f for row, f in failures.items() if f.kind in (INVALID, INTERRUPTED)}
    if not fatal:
        return batch, None
    rows = np.array([r for r in range(len(batch.ids)) if r not in fatal], dtype=np.intp)
    place = {int(r): new for new, r in enumerate(rows)}
    kept = {place[r]: f for r, f in failures.items() if r not in fatal}
    values = Values(batch.values.F[rows], failures=kept)
    worst = next((f for f in fatal.values() if f.kind == INVALID), next(iter(fatal.values())))
    return Batch(batch.ids[rows], values, batch.seconds), worst
