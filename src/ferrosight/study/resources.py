"""Threads and memory of this process: the one place where they are set and read."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ferrosight.errors import ConfigError


def count_cpus() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def limit_cpus(n_cpus: int | None = None) -> Iterator[int]:
    """Let numba and the Fourier transforms use ``n_cpus`` threads each, one after the other, at most; BLAS one.

    BLAS threads wait busily for their next task, and take the cores from numba's: building a table of signals
    took 2.8 s on two cores with two BLAS threads, 1.1 s with one.

    Without a number, all that this process may use. Yields the number; what held before holds again after.
    """
    import numba
    import scipy.fft
    from threadpoolctl import threadpool_limits

    if n_cpus is not None and n_cpus < 1:
        raise ConfigError(f"the number of CPUs must be 1 or more, but is {n_cpus}.")
    available = count_cpus()
    wanted = min(n_cpus or available, available)
    before = numba.get_num_threads()
    numba.set_num_threads(min(wanted, before))
    try:
        with threadpool_limits(limits=1, user_api="blas"), scipy.fft.set_workers(wanted):
            yield wanted
    finally:
        numba.set_num_threads(before)


def peak_memory_mb() -> float | None:
    """The most memory this process has held since it began, MB; None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
