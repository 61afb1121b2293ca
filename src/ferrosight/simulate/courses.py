"""What becomes of a labelled cluster from visit to visit: it stays, fades, grows or appears, and wanders a little.

Every rate that is drawn here is an assumption: of the size that such studies see, measured nowhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from ferrosight.cells.dilution import iron_left
from ferrosight.cells.growth import divide_per_day, grow_gompertz
from ferrosight.errors import InputError

CourseName = Literal["mixed", "constant", "fading", "growing"]
COURSES: Final[tuple[CourseName, ...]] = ("mixed", "constant", "fading", "growing")

#: Share of clusters whose iron stays in a mixed study, and that neither grow nor appear in a growing one.
_STAYING: Final = 1 / 3

#: Half-lives of a fading cluster's cells, days, log-uniform between these; iron that living cells give off, per day,
#: uniform from none to this.
_HALF_LIFE_DAYS: Final = (5.0, 40.0)
_EXOCYTOSIS_PER_DAY: Final = 0.02

#: First doubling times, days, log-uniform; how many times its size a cluster tends to; latest day it appears on.
_DOUBLING_DAYS: Final = (5.0, 14.0)
_GROWS_TIMES: Final = 50.0
_LATEST_DAY: Final = 21.0

#: A day's step of a cluster along each axis, a share of the smallest voxel edge (one standard deviation).
STEP_VOXELS: Final = 0.05

#: Relative standard deviation of the dose that arrives, common to all clusters of a visit.
DOSE_SD: Final = 0.05


@dataclass(frozen=True)
class Course:
    """One cluster's course. Days count from labelling, or where label is given before every visit, from the first.

    Cells die with a half-life of ``half_life_days`` and take their iron with them; those that live give off
    ``exocytosis_per_day`` of theirs. Cells that bind label anew before every visit double in ``doubling_days`` at
    first and tend to ``grows_times`` as many (Gompertz); infinite: their number stays. The cluster is there from
    ``first_day`` on.
    """

    half_life_days: float = math.inf
    exocytosis_per_day: float = 0.0
    doubling_days: float = math.inf
    grows_times: float = _GROWS_TIMES
    first_day: float = -math.inf

    def __post_init__(self) -> None:
        if not (self.half_life_days > 0 and self.doubling_days > 0 and self.grows_times > 1):
            raise InputError(
                f"a course needs a positive half-life and doubling time, and to grow more than 1 times, but has "
                f"{self.half_life_days:g}, {self.doubling_days:g} days and {self.grows_times:g}."
            )

    def count_cells(self, n_first: int, day: float) -> int:
        """How many cells there are on a day, of ``n_first`` on the first, were none to die; 0 before they appear."""
        if day < self.first_day:
            return 0
        if math.isinf(self.doubling_days):
            return n_first
        capacity = n_first * self.grows_times
        # Gompertz: the rate at first is slowing · ln(capacity over number)
        slowing = float(divide_per_day(self.doubling_days)) / math.log(self.grows_times)
        since = day - max(self.first_day, 0.0)
        return max(round(float(grow_gompertz(n_first, max(since, 0.0), slowing, capacity))), 1)

    def count_most(self, n_first: int) -> int:
        """The most cells that there can ever be."""
        return n_first if math.isinf(self.doubling_days) else math.ceil(n_first * self.grows_times)

    def find_living(self, n: int, day: float, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Which of ``n`` cells live on a day; the same ``rng`` gives each its own day of death."""
        return np.asarray(rng.exponential(1.0, n) * self.half_life_days / math.log(2) > day)

    def share_living(self, day: float) -> float:
        """Share of very many cells that live on a day."""
        return math.exp2(-day / self.half_life_days)

    def iron_kept(self, day: float) -> float:
        """Iron of a cell that lives over that on the first day."""
        return float(iron_left(self.exocytosis_per_day / 24, 0.0, 24 * max(day, 0.0)))


def draw_course(name: CourseName, rng: np.random.Generator) -> Course:
    """The course of one cluster in a study of that name.

    ``mixed``: a third stay, the cells of the others die. ``constant``: all stay. ``fading``: all cells die, and give
    off iron before. ``growing``: label is given before every visit; a third stay, a third grow, a third appear after
    the first visit and grow.
    """
    if name == "constant":
        return Course()
    if name == "growing":
        kind = rng.random()
        doubling = _draw_between(_DOUBLING_DAYS, rng)
        appears = rng.uniform(0.0, _LATEST_DAY)
        if kind < _STAYING:
            return Course()
        return Course(doubling_days=doubling, first_day=appears if kind > 1 - _STAYING else -math.inf)
    stays, half_life = rng.random() < _STAYING, _draw_between(_HALF_LIFE_DAYS, rng)
    if name == "mixed":
        return Course(half_life_days=math.inf if stays else half_life)
    return Course(half_life_days=half_life, exocytosis_per_day=rng.uniform(0.0, _EXOCYTOSIS_PER_DAY))


def draw_wandering(day: float, step_mm: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """How far (3,), mm, a cluster is on a day from where it was on day 0: a random walk of a step each day.

    The same ``rng`` gives the same walk, however far it is followed.
    """
    steps = rng.normal(scale=step_mm, size=(max(math.floor(day), 0), 3))
    return np.asarray(steps.sum(axis=0))


def draw_dose(seed: np.random.SeedSequence, day: float) -> float:
    """Label that arrives at a visit's cells over what is meant to: mean 1, the same for all clusters of the day."""
    own = np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, 2**16 + round(max(day, 0.0) * 24)))
    spread = math.sqrt(math.log(1 + DOSE_SD**2))
    return float(np.random.default_rng(own).lognormal(-(spread**2) / 2, spread))


def _draw_between(bounds: tuple[float, float], rng: np.random.Generator) -> float:
    return math.exp(rng.uniform(*np.log(bounds)))
