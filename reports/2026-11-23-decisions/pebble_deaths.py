"""What pebble's ProcessPool makes of workers that end: needs `pip install pebble`."""

import os
import signal
import time

from pebble import ProcessPool


def leaves() -> None:
    """Ends its process with exit code 0."""
    os._exit(0)


def pid() -> int:
    """The worker's process id."""
    return os.getpid()


if __name__ == "__main__":
    with ProcessPool(max_workers=1) as pool:
        future = pool.schedule(leaves)
        try:
            print("os._exit(0):", future.result(timeout=3))
        except BaseException as error:
            print("os._exit(0):", type(error).__name__, error)
        pool.stop()
    with ProcessPool(max_workers=2) as pool:
        worker = pool.schedule(pid).result(timeout=10)
        time.sleep(0.2)
        os.kill(worker, signal.SIGKILL)  # idle
        time.sleep(0.5)
        try:
            print("after SIGKILL of an idle worker:", pool.schedule(pid).result(timeout=5))
        except BaseException as error:
            print("after SIGKILL of an idle worker:", type(error).__name__, error)
