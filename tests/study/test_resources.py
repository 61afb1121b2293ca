"""Threads are capped together and given back."""

from __future__ import annotations

import numba
import numpy as np
import pytest
import scipy.fft
from threadpoolctl import threadpool_info

from ferrosight.errors import ConfigError
from ferrosight.study.resources import count_cpus, limit_cpus, peak_memory_mb


def _threads() -> tuple[int, int, list[int]]:
    blas = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    return numba.get_num_threads(), scipy.fft.get_workers(), blas


def test_one_cap_holds_for_numba_blas_and_fft_and_ends_with_the_block():
    before = _threads()
    with limit_cpus(1) as n:
        assert n == 1
        numba_threads, fft_workers, blas = _threads()
        assert (numba_threads, fft_workers) == (1, 1)
        assert set(blas) <= {1}
    assert _threads() == before


def test_threads_are_given_back_after_an_error():
    before = _threads()
    with pytest.raises(RuntimeError), limit_cpus(1):
        raise RuntimeError
    assert _threads() == before


def test_no_number_means_all_and_more_than_all_means_all():
    with limit_cpus() as everything, limit_cpus(10_000) as capped:
        assert everything == capped == count_cpus()


def test_fewer_than_one_is_refused():
    with pytest.raises(ConfigError, match="1 or more"), limit_cpus(0):
        pass


def test_peak_memory_counts_what_was_held():
    before = peak_memory_mb()
    if before is None:
        pytest.skip("this system does not tell its peak memory")
    size_mb = int(before) + 100
    np.ones(size_mb * 125_000)
    after = peak_memory_mb()
    assert after is not None
    assert after >= before + 50
