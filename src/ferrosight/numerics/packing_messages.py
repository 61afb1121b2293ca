"""How likely each set is in a random packing, by messages between sets and their members: fast, nearly right."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]

_TOLERANCE = 1e-4
#: Share of the old message that is kept: without it, rings of sets swing for ever.
_DAMPING = 0.3


def index_members(members: _Ints, n_members: int) -> tuple[_Ints, _Ints, _Ints]:
    """Where each member's sets are: starts (n_members + 1,), then their numbers and the member's slot in each."""
    number, slot = np.nonzero(members >= 0)
    member = members[number, slot]
    order = np.argsort(member, kind="stable")
    starts = np.searchsorted(member[order], np.arange(n_members + 1))
    return starts.astype(np.int64), number[order], slot[order]


def pass_messages(members: _Ints, gains: _Floats, n_members: int, *, max_sweeps: int = 200) -> _Floats:
    """Probability (n_sets,) of each set among packings weighed by exp(total gain), nearly.

    ``members`` (n_sets, k), −1 where a set has fewer; ``gains`` (n_sets,).

    Notes
    -----
    Loopy belief propagation (sum-product) where each member allows one of its sets at most: the message to a set is
    one over 1 + the sum of what its rivals bring. Exact where no sets form a ring, and for data association it
    converges and comes close (Williams & Lau, IEEE Trans. Aerosp. Electron. Syst. 50:2942, 2014).
    """
    if not len(gains):
        return np.zeros(0)
    starts, sets, slots = index_members(members, n_members)
    messages = np.zeros(members.shape)
    _sweep(starts, sets, slots, members, gains, messages, max_sweeps, _TOLERANCE, _DAMPING)
    belief: _Floats = _believe(starts, sets, gains, messages)
    return belief


@njit(cache=True)
def _sweep(
    starts: _Ints,
    sets: _Ints,
    slots: _Ints,
    members: _Ints,
    gains: _Floats,
    messages: _Floats,
    max_sweeps: int,
    tolerance: float,
    damping: float,
) -> int:
    """Update messages (logarithms, in place) until what they come from no longer changes; how many sweeps that took."""
    total = gains + messages.sum(axis=1)
    stale = np.ones(len(starts) - 1, np.bool_)
    for sweep in range(max_sweeps):
        if not stale.any():
            return sweep
        for member in np.flatnonzero(stale):
            stale[member] = False
            first, last = starts[member], starts[member + 1]
            best, rest, top = -1.0, 0.0, -1
            for at in range(first, last):
                brings = np.exp(total[sets[at]] - messages[sets[at], slots[at]])
                if brings > best:
                    if top >= 0:
                        rest += best
                    best, top = brings, at
                else:
                    rest += brings
            for at in range(first, last):
                v, slot = sets[at], slots[at]
                # the strongest is left out of the sum, not taken off it
                rivals = rest if at == top else rest + best - np.exp(total[v] - messages[v, slot])
                new = -np.log1p(max(rivals, 0.0))
                new += damping * (messages[v, slot] - new)
                moved = new - messages[v, slot]
                total[v] += moved
                messages[v, slot] = new
                if abs(moved) > tolerance:
                    for other in members[v]:
                        if other >= 0:
                            stale[other] = True
    return max_sweeps


@njit(cache=True)
def _believe(starts: _Ints, sets: _Ints, gains: _Floats, messages: _Floats) -> _Floats:
    """Beliefs from the messages; scaled down where a member's would add up to more than 1."""
    total = gains + messages.sum(axis=1)
    belief: _Floats = 1.0 / (1.0 + np.exp(-total))
    scale = np.ones(len(belief))
    for member in range(len(starts) - 1):
        share = 0.0
        for at in range(starts[member], starts[member + 1]):
            share += belief[sets[at]]
        for at in range(starts[member], starts[member + 1]):
            scale[sets[at]] = min(scale[sets[at]], 1.0 / max(share, 1.0))
    belief *= scale
    return belief
