"""The engine `ray`: the pool with actors of a Ray cluster as its workers.

What is queued, retried, timed out and given up is decided in `evoopt.evaluators.pool`; here is how
an actor is started, told and killed. The problem is put into the object store once, each actor
loads it once; after that a call carries rows there and values back.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from evoopt.errors import ConfigurationError, missing
from evoopt.evaluators.pool import PoolEvaluator, unpickled
from evoopt.objective import one_line, raised_text
from evoopt.problem import Problem

# Ray's sockets lie below its folder; their paths may have 107 characters: sun_path of <sys/un.h>
_LONGEST_FOLDER = 40
_OWN_CLUSTER = {  # environment in which our own cluster is started
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # actors without a GPU see what this process sees
}
# Ports of Ray are open to the network, so our own cluster asks for a token. Ray decides about that
# once in a process, when it is imported: where somebody else did so, it is left as it is.
_guarded: dict[str, str] = {}


def ray_pool(
    problem: Problem, workers: int = 1, *, ray_address: str | None = None
) -> PoolEvaluator:
    """Keeps up to `workers` actors of a Ray cluster busy, on one host or on many.

    Args:
        problem: what is evaluated.
        workers: number of actors, of one processor each; where the cluster has fewer that are
            free, the others wait for theirs.
        ray_address: of a running cluster, as `ray.init` takes it; default: the one that this
            process is connected to, or else an own one on this host, ended with the evaluator.

    Raises:
        ConfigurationError: the problem cannot be pickled, or there are no workers.
        MissingDependencyError: Ray is not installed.
    """
    return PoolEvaluator(problem, workers, RayCrew(workers, ray_address))


class RayCrew:
    """Workers that are actors; see `evoopt.evaluators.crew.Crew`."""

    cheap_seconds = 25e-3  # a call costs a millisecond or two

    def __init__(self, workers: int, address: str | None) -> None:
        """Ray is started with the first worker."""
        self._ray = _imported(own=address is None)
        self._workers, self._address = workers, address
        self._actor_class: Any = None
        self._problem: Any = None  # where the pickled problem lies in the object store
        self._started = False  # by us
        self._folder: str | None = None  # of our own cluster

    def launched(self, pickled: bytes) -> tuple[ActorProcess, ActorLine]:
        """A new actor that loads the problem, and the line to it."""
        if self._actor_class is None:
            self._connect()
            self._problem = self._ray.put(pickled)
            self._actor_class = self._ray.remote(num_cpus=1, max_restarts=0)(Actor)
        actor = self._actor_class.remote()
        paths = [os.path.abspath(folder) for folder in sys.path]
        line = ActorLine(self._ray, actor, actor.load.remote(self._problem, paths))
        return ActorProcess(self._ray, actor, line), line

    def wait(self, lines: list[ActorLine], timeout: float) -> list[ActorLine]:
        """The lines on which there is something to receive."""
        waiting = {line.calls[0]: line for line in lines if line.calls}
        if not waiting:
            return []
        calls = list(waiting)
        ready, rest = self._ray.wait(calls, num_returns=1, timeout=timeout)
        if ready and rest:
            more, _ = self._ray.wait(rest, num_returns=len(rest), timeout=0)
            ready += more
        return [waiting[call] for call in ready]

    def killed(self, process: ActorProcess) -> str:
        """Kill an actor. Returns: how it ended, in words."""
        return process.kill()

    def close(self) -> None:
        """Ends the cluster that we started; leaves any other as it was."""
        self._actor_class = self._problem = None
        if self._started:
            self._started = False
            with _own_signals():
                self._ray.shutdown()
            _silence(False)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _connect(self) -> None:
        if self._ray.is_initialized():
            return
        where: dict[str, Any] = {"address": self._address}
        environment: dict[str, str] = {}
        if self._address is None:
            where = {"address": "local", "num_cpus": self._workers, "include_dashboard": False}
            self._folder = where["_temp_dir"] = _folder()
            environment = {**_OWN_CLUSTER, **_guarded}
        where |= {"log_to_driver": False, "configure_logging": False, "logging_level": "ERROR"}
        _silence(True)
        try:
            with _own_signals(), _environment(environment):
                self._ray.init(**where)
        except Exception as error:  # whatever Ray says: it has not come up
            _silence(False)
            raise ConfigurationError(
                f"the engine 'ray' cannot connect to {self._address or 'a cluster of its own'}: "
                f"{one_line(str(error))}"
            ) from error
        self._started = True


class ActorProcess:
    """The process of an actor, as far as the pool has to do with it."""

    pid = -1  # perhaps on another host

    def __init__(self, ray: Any, actor: Any, line: ActorLine) -> None:
        self._ray, self._actor, self._line = ray, actor, line

    def poll(self) -> int | None:
        """None: a death shows on the line."""
        return None

    def wait(self, timeout: float | None = None) -> int:
        """An actor has nothing to say at the end."""
        return 0

    def kill(self) -> str:
        """End the actor. Returns: how it had ended, if it had."""
        with contextlib.suppress(Exception):  # Ray itself may be gone
            self._ray.kill(self._actor, no_restart=True)
        return self._line.cause


class ActorLine:
    """Calls of one actor, in order.

    Attributes:
        calls: references to the answers that are still to come.
        cause: how the actor died, in words.
    """

    def __init__(self, ray: Any, actor: Any, loading: Any) -> None:
        self._ray, self._actor = ray, actor
        self.calls: deque[Any] = deque([loading])
        self.cause = "with its host or by a signal"

    def send(self, message: Any) -> None:
        """Call the actor. A message is pickled by Ray, as by `Connection.send`."""
        self.calls.append(self._actor.answer.remote(message))

    def recv(self) -> Any:
        """The next answer; raises what Ray raises for an actor that has died."""
        try:
            return self._ray.get(self.calls.popleft())
        except self._ray.exceptions.RayActorError as error:
            self.cause = f"({one_line(_detail(str(error)))})"
            raise

    def poll(self) -> bool:
        """Whether there is an answer."""
        return bool(self.calls) and bool(self._ray.wait([self.calls[0]], timeout=0)[0])

    def close(self) -> None:
        """Forget what is still to come."""
        self.calls.clear()


class Actor:
    """In the cluster: a problem, and what answers messages about it."""

    def __init__(self) -> None:
        self._server: Any = None

    def load(self, pickled: bytes, paths: Sequence[str]) -> tuple[str, ...]:
        """As a worker of the pool does when it starts. paths: where the driver looks for modules.

        Returns: ("ready",), or ("broken", why).
        """
        from threadpoolctl import threadpool_limits

        from evoopt.evaluators.worker import Server

        sys.path += [path for path in paths if path not in sys.path]
        try:
            problem = unpickled(pickled)
        except BaseException as error:  # noqa: BLE001  # unpickling runs imports of the user
            return "broken", raised_text(error)
        threadpool_limits(limits=1)
        self._server = Server(problem)
        return ("ready",)

    def answer(self, message: tuple[Any, ...]) -> tuple[Any, ...]:
        """What `Server` answers."""
        answer: tuple[Any, ...] = self._server.answer(message)
        return answer


def _imported(own: bool) -> Any:
    """The package. own: a cluster of our own will be started.

    Raises:
        MissingDependencyError: it is not installed.
    """
    if own and "ray" not in sys.modules and "RAY_AUTH_MODE" not in os.environ:
        _guarded.update({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": os.urandom(32).hex()})
    try:
        with _environment(_guarded):
            import ray
    except ImportError:
        raise missing("ray", "ray", "the engine 'ray'") from None
    return ray


def _detail(text: str) -> str:
    """What Ray says of a death, without its advice."""
    detail = text.partition("Worker exit type: ")[2] or text
    return detail.partition(" There are some potential")[0].partition(" Some common causes")[0]


def _folder() -> str:
    """A folder of our own for sockets and logs."""
    usual = tempfile.gettempdir()
    place = usual if len(usual) < _LONGEST_FOLDER else "/tmp"
    return tempfile.mkdtemp(prefix="evoopt-ray-", dir=place)


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Variables for the time being; those that the user has set stay as they are, and what Ray sets
    besides (what `breakpoint` means, among others) goes with them."""
    before = dict(os.environ)
    os.environ.update({name: value for name, value in values.items() if name not in before})
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keeps Ray from putting a handler of SIGTERM in place of the one that is there."""
    import ray._private.utils as utils

    theirs = getattr(utils, "set_sigterm_handler", None)
    utils.set_sigterm_handler = lambda handler: None
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if theirs is not None:
            utils.set_sigterm_handler = theirs
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # another version of Ray may do it otherwise


def _silence(on: bool) -> None:
    """Ray tells of dead actors on stdout, which belongs to results; a `Failure` tells of them."""
    import ray._private.worker as worker

    if hasattr(worker, "_worker_logs_enabled"):
        worker._worker_logs_enabled = not on
