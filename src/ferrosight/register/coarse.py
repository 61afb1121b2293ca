"""Where to begin: SimpleITK finds roughly how one visit lies on another.

The one place where its space (LPS: x to the left, y to the back) meets ours (RAS+).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ferrosight.register.refine import find_overlap
from ferrosight.register.sampling import find_usable
from ferrosight.types import Grid, Rigid, VisitImage

if TYPE_CHECKING:
    import SimpleITK

FloatArray = NDArray[np.float64]

#: RAS+ to LPS and back.
_FLIP = np.diag([-1.0, -1.0, 1.0])

#: Voxels of the coarse images along the longest edge of the tissue, about.
_COARSE_VOXELS = 28

#: Angle (rad) about each axis at which the search begins, beside none.
_START_ANGLE = 0.4

#: How many of the starts are followed to their end.
_FOLLOWED = 4

#: Least share of the smaller tissue that a start or an end puts on the other's: little in common looks alike by chance.
_LEAST_OVERLAP = 0.2

#: Bins of the joint histogram, steps, and the step (coarse voxels) at which the search ends.
_BINS, _STEPS, _LEAST_STEP = 32, 150, 0.02


def find_starts(first: VisitImage, second: VisitImage) -> Iterator[Rigid]:
    """Motions of ``second``'s RAS+ mm to ``first``'s that may be right to a few voxels, the likeliest first.

    Mattes' mutual information of coarse images, all voxels of the tissue, from the scanner's own coordinates and from
    tissue laid on tissue, turned to either side about each axis; the best of these followed by gradient descent when
    asked for. The same bit for bit every time.
    """
    import SimpleITK

    edge = max(_tissue_extent(image).max() for image in (first, second)) / _COARSE_VOXELS
    fixed, fixed_mask = _coarsen(first, edge)
    moving, moving_mask = _coarsen(second, edge)
    method = SimpleITK.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsMattesMutualInformation(_BINS)
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetMetricFixedMask(fixed_mask)
    method.SetMetricMovingMask(moving_mask)
    method.SetInterpolator(SimpleITK.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=edge, minStep=_LEAST_STEP * edge, numberOfIterations=_STEPS, relaxationFactor=0.5
    )
    method.SetOptimizerScalesFromPhysicalShift()
    ranked: list[tuple[float, int, Any]] = []
    for number, start in enumerate(_list_starts(first, second)):
        if number and find_overlap(first, second, start) < _LEAST_OVERLAP:
            continue
        transform = to_itk(start.inverse(), _FLIP @ _tissue_middle(first))
        ranked.append((_measure(method, fixed, moving, transform), number, transform))
    for _, _, transform in _choose(ranked):
        method.SetInitialTransform(transform, inPlace=False)
        try:
            with _one_thread():
                found = from_itk(method.Execute(fixed, moving)).inverse()
        except RuntimeError:
            # the images slid off each other
            continue
        if find_overlap(first, second, found) >= _LEAST_OVERLAP:
            yield found


@contextmanager
def _one_thread() -> Iterator[None]:
    """ITK adds up a metric's derivative in the order in which its threads end, and that takes as many as there are
    cores whatever the method was told: only the default for all of ITK holds it to one."""
    from SimpleITK import ProcessObject

    before = ProcessObject.GetGlobalDefaultNumberOfThreads()
    ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _choose(ranked: list[tuple[float, int, Any]]) -> list[tuple[float, int, Any]]:
    """The best starts, the scanner's own coordinates always among them."""
    order = sorted(ranked, key=lambda entry: entry[:2])
    return [entry for place, entry in enumerate(order) if place < _FOLLOWED or entry[1] == 0]


def to_itk(motion: Rigid, centre_lps: FloatArray) -> SimpleITK.Euler3DTransform:
    """A motion of RAS+ mm as one of LPS mm, turning about ``centre_lps``."""
    import SimpleITK

    rotation, shift = _FLIP @ motion.rotation @ _FLIP, _FLIP @ motion.translation_mm
    transform = SimpleITK.Euler3DTransform()
    transform.SetCenter(centre_lps.tolist())
    transform.SetMatrix(rotation.ravel().tolist(), 1e-6)
    transform.SetTranslation((shift + rotation @ centre_lps - centre_lps).tolist())
    return transform


def from_itk(transform: SimpleITK.Transform) -> Rigid:
    """A rigid motion of LPS mm, of any class, as one of RAS+ mm."""
    corners = np.array([transform.TransformPoint(point) for point in np.vstack([np.zeros(3), np.eye(3)]).tolist()])
    u, _, vt = np.linalg.svd((corners[1:] - corners[0]).T)
    return Rigid(_FLIP @ u @ vt @ _FLIP, _FLIP @ corners[0])


def to_itk_image(array: NDArray[Any], grid: Grid) -> SimpleITK.Image:
    """An image (x, y, z) on its grid."""
    import SimpleITK

    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetSpacing(grid.voxel_mm)
    image.SetDirection((_FLIP @ grid.axes).ravel().tolist())
    image.SetOrigin((_FLIP @ grid.affine[:3, 3]).tolist())
    return image


def _coarsen(image: VisitImage, edge_mm: float) -> tuple[SimpleITK.Image, SimpleITK.Image]:
    """Means over blocks of about ``edge_mm``, and where half a block is usable."""
    factors = [max(1, min(round(edge_mm / v), n)) for v, n in zip(image.grid.voxel_mm, image.grid.shape, strict=True)]
    kept = [n // f for n, f in zip(image.grid.shape, factors, strict=True)]
    inside = tuple(slice(0, n * f) for n, f in zip(kept, factors, strict=True))
    split = [size for n, f in zip(kept, factors, strict=True) for size in (n, f)]
    usable = find_usable(image)
    share = usable[inside].reshape(split).mean(axis=(1, 3, 5))
    mean = image.magnitude[inside].reshape(split).mean(axis=(1, 3, 5))
    affine = image.grid.affine @ np.diag([*factors, 1.0])
    affine[:3, 3] = image.grid.to_mm((np.array(factors) - 1) / 2)
    grid = Grid((kept[0], kept[1], kept[2]), affine)
    return to_itk_image(mean.astype(np.float32), grid), to_itk_image((share >= 0.5).astype(np.uint8), grid)


def _list_starts(first: VisitImage, second: VisitImage) -> list[Rigid]:
    """The scanner's own coordinates, and tissue laid on tissue, unturned and turned."""
    target, source = _tissue_middle(first), _tissue_middle(second)
    starts = [Rigid.identity()]
    for axis in [np.zeros(3), *np.eye(3), *-np.eye(3)]:
        turn = Rigid.from_twist(np.concatenate([np.zeros(3), _START_ANGLE * axis]))
        starts.append(Rigid(turn.rotation, target - turn.rotation @ source))
    return starts


def _measure(method: Any, fixed: Any, moving: Any, transform: Any) -> float:
    method.SetInitialTransform(transform, inPlace=False)
    try:
        with _one_thread():
            return float(method.MetricEvaluate(fixed, moving))
    except RuntimeError:
        # no place in common
        return float("inf")


def _tissue_middle(image: VisitImage) -> FloatArray:
    return image.grid.to_mm(np.argwhere(image.mask).mean(axis=0))


def _tissue_extent(image: VisitImage) -> FloatArray:
    return np.asarray((np.ptp(np.argwhere(image.mask), axis=0) + 1) * np.array(image.grid.voxel_mm))
