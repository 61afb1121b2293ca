"""What neighbours leave in doubt: beside strong sources, errors of their model look like sources.

The factor of a neighbour is known to the model error ε of the scan only. Over a source's window it leaves
d = ε · rms(|S|·|O - 1|) in units of one channel's noise, S the signal and O the neighbours' factor. Less weight for the
voxels it changes (``fit.discount_neighbours``) is not enough, because such errors are alike in voxels side by side:
where they are over n voxels, a score's variance grows by n d²/2, and so do the scores of a null beside strong sources.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from ferrosight.clusters.fit import Neighbours, Sources, WindowData, cut_window, multiply_neighbours

#: Voxels over which errors of a model are alike: two along each axis, about the size of a lobe (an assumption;
#: between 4 and 12 as many clusters of the gel are found far from others, and fewer decoys beside strong ones than
#: with less).
_PATCH_VOXELS = 8

#: The model error is not taken to be less: farther out than its window a truncated source rings along the axes,
#: which its model leaves out (a cluster of score 100 left decoys of score 6 five voxels away).
_LEAST_ERROR = 0.2


def neighbour_spread(
    data: WindowData, sources: Sources, neighbours: Neighbours, own: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Standard deviation (n,) that errors of its neighbours' model give each source's score; 1 without neighbours.

    ``own`` (n,) is each source's own row among the neighbours, -1 where it is not one of them.
    """
    doubt = np.zeros(len(sources))
    volumes = data.signal, data.weights
    blocks = neighbours.centres, neighbours.blocks
    _measure_many(volumes, sources.centres, np.asarray(own, np.int64), data.voxels, blocks, doubt)
    return np.asarray(
        np.sqrt(1 + _PATCH_VOXELS / 2 * (max(data.model_error, _LEAST_ERROR) * doubt) ** 2), dtype=np.float64
    )


@njit(cache=True, fastmath=True, parallel=True)
def _measure_many(volumes, centres, own, voxels, neighbours, doubt):  # type: ignore[no-untyped-def]
    """Fill ``doubt`` (n,) with the rms change that neighbours make in each window, of the echo with the largest."""
    signal, weights = volumes
    block_centres, blocks = neighbours
    n_echoes, n = signal.shape[0], len(voxels)
    for f in prange(len(doubt)):
        data = np.empty((n_echoes, n), np.complex64)
        weight = np.empty((n_echoes, n), np.float32)
        other = np.empty((n_echoes, n), np.complex64)
        cut_window(signal, weights, centres[f], voxels, data, weight)
        multiply_neighbours(centres[f], voxels, own[f], block_centres, blocks, other)
        for e in range(n_echoes):
            total, count, power = 0.0, 0, 0.0
            for v in range(n):
                if weight[e, v] > 0.0:
                    change = other[e, v] - 1.0
                    total += change.real**2 + change.imag**2
                    power += data[e, v].real ** 2 + data[e, v].imag ** 2
                    count += 1
            if count:
                # The signal's own mean: in a neighbour's void the data are dark, the error of the model is not.
                doubt[f] = max(doubt[f], np.sqrt(total / count * power / count))
