"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import numba
import pytest
from hypothesis import settings
from threadpoolctl import threadpool_limits

# No test is timed: the first call of a compiled function takes seconds.
settings.register_profile("untimed", deadline=None)
# The same examples every time, so that a change never fails by an example that it has nothing to do with; without it,
# at the desk, every run tries others.
settings.register_profile("repeatable", settings.get_profile("untimed"), derandomize=True)
settings.load_profile("untimed")


def pytest_configure(config: pytest.Config) -> None:
    """Where several processes share the tests, each takes one core."""
    if hasattr(config, "workerinput"):
        numba.set_num_threads(1)
        threadpool_limits(limits=1, user_api="blas")
    else:
        # Libraries of linear algebra that are loaded later would begin with a thread per core, each waiting busily.
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(name, "1")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of real scans, from $FERROSIGHT_DATA; tests that need it are skipped where it is absent."""
    folder = os.environ.get("FERROSIGHT_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("real scans are needed: set FERROSIGHT_DATA to their folder")
    return Path(folder)
