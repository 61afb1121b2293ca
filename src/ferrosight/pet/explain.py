"""Strong sources explained one after another, until what is left is background and noise.

A source that is not taken off raises the noise measured around it, and its own negative ring would pass for what noise
does. So sources and noise are found in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ferrosight.pet.fit import KNOWN_SD, Ball, Fit, Fitter, KnownPlace, fit_ball
from ferrosight.pet.noise import PetNoise, measure_noise
from ferrosight.pet.screen import FILTERS, Screen, find_peaks, refine_peaks, screen_image, weigh
from ferrosight.types.pet import PetResponse

Array = NDArray[np.float64]
#: What exceeds this is explained before the noise is judged: in noise alone one scan in thousands has such a place.
_STRONG = 5.5
#: A source that fills its neighbourhood raises what places scatter there, and hides behind it. So it also counts as
#: strong without that, from more than the edges of organs reach, which are raised in the wider windows most.
_STRONG_ALONE = (12.0, 7.0, 12.0, 12.0)
#: Places of one round nearer than this (point spreads) to a stronger one wait until that is explained.
_WAIT_FWHM = 3.0
_MAX_ROUNDS = 6
#: Voxels to either side within which the statistic is interpolated.
_AROUND = 4
#: Sources nearer than this (point spreads) to one that is explained already are its own misfit.
_APART_FWHM = 0.8
#: Radius, in point spreads, from which a source is wide.
_WIDE_FWHM = 0.6


@dataclass(frozen=True)
class Explained:
    """An image taken apart: the sources, their fits, the noise and the statistic of what they leave.

    ``fits`` has a None where too little of a source's window lies in the image; such a source has no activity.
    ``windows`` says which of ``fitters`` each was fitted with.
    """

    fitters: tuple[Fitter, ...]
    balls: tuple[Ball, ...]
    fits: tuple[Fit | None, ...]
    windows: tuple[int, ...]
    screen: Screen

    @property
    def noise(self) -> PetNoise:
        """The noise that the sources leave."""
        return self.fitters[0].noise

    def score(self, ball: Ball) -> float:
        """The screening statistic at a source's place, between voxels, if it were taken off last."""
        ijk = clip_place(ball.ijk, self.screen)
        judged = self.screen.filter_at(ijk)
        low, high = np.maximum(ijk - _AROUND, 0), np.minimum(ijk + _AROUND + 1, self.screen.z.shape)
        box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        reach = np.array(judged.kernel.shape) // 2
        wide = tuple(slice(max(int(a - n), 0), int(b + n)) for a, b, n in zip(low, high, reach, strict=True))
        own = weigh(self.fitters[0].render([ball])[wide], judged.kernel)
        inner = tuple(slice(b.start - w.start, b.stop - w.start) for b, w in zip(box, wide, strict=True))
        z = judged.standardise(judged.amplitude_bq[box] + own[inner], box)
        return float(refine_peaks(z, (ijk - low)[None])[1][0])

    def scatter(self, index: int) -> float:
        """By how much places around a source scatter beyond what noise does, for its window; at least 1."""
        place = tuple(int(n) for n in clip_place(self.balls[index].ijk, self.screen))
        return max(float(self.screen.filters[self.windows[index]].scatter[place]), 1.0)


def explain_image(
    image: Array, voxel_mm: tuple[float, float, float], response: PetResponse, places: Sequence[KnownPlace] = ()
) -> Explained:
    """Take strong sources off ``image`` (x, y, z), Bq/mL.

    ``places`` are those of sources that stay where they are known to be: they come first among the balls, and are
    fitted in activity and size however weak they are.
    """
    widths = np.array([fwhm / edge for fwhm, edge in zip(response.fwhm_mm, voxel_mm, strict=True)])
    noise = measure_noise(image, voxel_mm, response)
    screen = screen_image(image, noise, voxel_mm, response)
    fitters = tuple(Fitter(image, noise, voxel_mm, response, *chosen) for chosen in FILTERS)
    balls = [guess_ball(screen, find_likeliest(screen, place, voxel_mm)) for place in places]
    fits: list[Fit | None] = []
    windows: list[int] = []
    for turn in range(_MAX_ROUNDS):
        new: list[Ball] = []
        for peak in find_peaks(_measure_strength(screen), noise.body, widths, 1.0):
            apart = is_apart(peak, balls, fitters[0], _APART_FWHM) and not is_claimed(peak, places, fitters[0])
            if apart and is_apart(peak, new, fitters[0], _WAIT_FWHM):
                new.append(guess_ball(screen, peak.astype(np.float64)))
        if not new and (turn or not balls):
            break
        balls += new
        windows = choose_windows(fitters[0], balls, screen)
        fits, balls = fit_all(fitters, windows, balls, places)
        # The noise that is left once they are explained, and with it their errors.
        noise = measure_noise(image - fitters[0].render(balls), voxel_mm, response)
        fitters = tuple(replace(fitter, noise=noise) for fitter in fitters)
        screen = screen_image(image - fitters[0].render(balls), noise, voxel_mm, response)
        windows = choose_windows(fitters[0], balls, screen)
        fits, balls = fit_all(fitters, windows, balls, places)
        screen = screen_image(image - fitters[0].render(balls), noise, voxel_mm, response)
    return Explained(fitters, tuple(balls), tuple(fits), tuple(windows), screen)


def _measure_strength(screen: Screen) -> Array:
    """By how much each place exceeds what counts as strong, (x, y, z): 1 is just strong."""
    alone = [
        one.amplitude_bq / (one.unit_err_bq * least) for one, least in zip(screen.filters, _STRONG_ALONE, strict=True)
    ]
    return np.asarray(np.max([screen.z / _STRONG, *alone], axis=0), dtype=np.float64)


def is_apart(ijk: NDArray[np.int_] | Array, balls: Sequence[Ball], fitter: Fitter, fwhm: float) -> bool:
    """Whether a place lies farther from every source than its radius and so many point spreads."""
    least_mm = fwhm * max(fitter.response.fwhm_mm)
    return all(float(np.linalg.norm((ijk - ball.ijk) * fitter.voxel_mm)) >= least_mm + ball.radius_mm for ball in balls)


def is_claimed(ijk: NDArray[np.int_] | Array, places: Sequence[KnownPlace], fitter: Fitter) -> bool:
    """Whether a place may well be that of a source whose place is not exactly known."""
    return any(place.deviate(np.asarray(ijk), fitter.voxel_mm) < KNOWN_SD**2 for place in places)


def find_likeliest(screen: Screen, known: KnownPlace, voxel_mm: tuple[float, float, float]) -> Array:
    """Where a source of which the place is ``known`` begins its fit: the voxel of largest posterior, else the place."""
    if known.precision is None:
        return known.ijk
    reach = KNOWN_SD * np.sqrt(np.diag(np.linalg.inv(known.precision))) / voxel_mm
    middle = clip_place(known.ijk, screen)
    low = np.maximum(middle - np.ceil(reach).astype(int), 0)
    high = np.minimum(middle + np.ceil(reach).astype(int) + 1, screen.z.shape)
    best, most = known.ijk, float(np.maximum(screen.z[tuple(middle)], 0.0) ** 2) / 2
    for ijk in np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True))), -1).reshape(-1, 3):
        away = known.deviate(ijk, voxel_mm)
        odds = (float(np.maximum(screen.z[tuple(ijk)], 0.0)) ** 2 - away) / 2
        if odds > most and away < KNOWN_SD**2:
            best, most = ijk.astype(np.float64), odds
    return best


def clip_place(ijk: Array, screen: Screen) -> NDArray[np.int_]:
    """The voxel (3,) of the image that is nearest to a place."""
    return np.asarray(np.clip(np.round(ijk).astype(int), 0, np.array(screen.z.shape) - 1), dtype=np.int_)


def guess_ball(screen: Screen, place: Array) -> Ball:
    """A point with the activity that the screening saw."""
    ijk = clip_place(place, screen)
    return Ball(np.asarray(place, dtype=np.float64), float(screen.amplitude_bq[tuple(ijk)]), 0.0)


def choose_windows(fitter: Fitter, balls: Sequence[Ball], screen: Screen) -> list[int]:
    """The window for each source: the widest for wide ones, what the screening chose for the others."""
    wide_mm = _WIDE_FWHM * min(fitter.response.fwhm_mm)
    return [
        0 if ball.radius_mm > wide_mm else int(screen.choice[tuple(clip_place(ball.ijk, screen))]) for ball in balls
    ]


def fit_all(
    fitters: Sequence[Fitter], windows: Sequence[int], balls: Sequence[Ball], places: Sequence[KnownPlace]
) -> tuple[list[Fit | None], list[Ball]]:
    """Every source beside its neighbours as they are known so far; those that have any, twice over.

    The first of ``balls`` are those whose ``places`` are known.
    """
    current = list(balls)
    fits: list[Fit | None] = [None] * len(current)
    for turn in range(2):
        for index, ball in enumerate(current):
            fitter = fitters[windows[index]]
            near = fitter.list_near(ball, current)
            if turn and not near:
                continue
            fit = fit_ball(fitter, ball, near, known=places[index] if index < len(places) else None)
            fits[index] = fit
            current[index] = replace(ball, activity_bq=0.0) if fit is None else fit.ball
    return fits, current
