"""What every test stands on: one thread per process, no screen, the same examples at each run."""

import os

# Inherited by the workers of pytest-xdist and by every subprocess, before numpy is loaded there.
for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"
os.environ["MPLBACKEND"] = "Agg"

import hypothesis  # noqa: E402 # after the environment
import threadpoolctl  # noqa: E402

# Plugins load numpy before this file where pytest runs in one process (-n 0).
threadpoolctl.threadpool_limits(1)

hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=1000, print_blob=True)
hypothesis.settings.load_profile("fixed")  # --hypothesis-profile=explore looks further
