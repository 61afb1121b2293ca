"""Rigid motion with its error, and the space in which all visits of a subject meet."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ferrosight.errors import ImageError, InputError
from ferrosight.types._validate import frozen_array, set_field
from ferrosight.types.grid import Grid

FloatArray = NDArray[np.float64]

#: Largest deviation of RᵀR from the identity that still counts as a rotation.
_MAX_DEVIATION = 1e-6

#: Below this angle (rad) the closed forms divide by next to nothing, and series take their place.
_SMALL_ANGLE = 1e-4

PairStatus = Literal["used", "no_overlap", "failed", "inconsistent"]

PetPoseSource = Literal["images", "header", "assumed"]


@dataclass(frozen=True, eq=False)
class Rigid:
    """A rigid motion x' = R x + t from one space to another, both RAS+ mm, and how well it is known.

    ``rotation`` (3, 3), ``translation_mm`` (3,). ``covariance`` (6, 6) is that of a small motion (v, ω) *after* this
    one, about the target's origin: the true place is x' + v + ω × x', v in mm and ω in rad; zero if not given.
    """

    rotation: FloatArray
    translation_mm: FloatArray
    covariance: FloatArray | None = None

    def __post_init__(self) -> None:
        rotation = frozen_array("rotation", self.rotation, np.float64, (3, 3), finite=True)
        if np.abs(rotation.T @ rotation - np.eye(3)).max() > _MAX_DEVIATION or np.linalg.det(rotation) < 0:
            raise InputError(f"a rotation matrix was expected, but found {rotation.tolist()}.")
        set_field(self, "rotation", rotation)
        shift = frozen_array("translation_mm", self.translation_mm, np.float64, (3,), finite=True)
        set_field(self, "translation_mm", shift)
        covariance = np.zeros((6, 6)) if self.covariance is None else self.covariance
        set_field(self, "covariance", frozen_array("covariance", covariance, np.float64, (6, 6), finite=True))

    @classmethod
    def identity(cls) -> Rigid:
        """The motion that moves nothing, exactly known."""
        return cls(np.eye(3), np.zeros(3))

    @classmethod
    def from_twist(cls, twist: ArrayLike) -> Rigid:
        """The motion exp(v, ω) of a twist (6,), mm and rad (Murray, Li, Sastry 1994, section 2.3), exactly known."""
        v, omega = np.split(np.asarray(twist, dtype=np.float64), 2)
        angle = float(np.linalg.norm(omega))
        k = _cross(omega)
        if angle < _SMALL_ANGLE:
            a, b, c = 1 - angle**2 / 6, 0.5 - angle**2 / 24, 1 / 6 - angle**2 / 120
        else:
            a, b = math.sin(angle) / angle, (1 - math.cos(angle)) / angle**2
            c = (1 - a) / angle**2
        rotation = np.eye(3) + a * k + b * k @ k
        # nearest rotation, so that rounding never adds up
        u, _, vt = np.linalg.svd(rotation)
        return cls(u @ vt, (np.eye(3) + b * k + c * k @ k) @ v)

    def twist(self) -> FloatArray:
        """The twist (v, ω) (6,) of least angle whose exponential this motion is; the inverse of ``from_twist``."""
        skew = self.rotation - self.rotation.T
        axis = np.array([skew[2, 1], skew[0, 2], skew[1, 0]]) / 2
        sine, cosine = float(np.linalg.norm(axis)), (float(np.trace(self.rotation)) - 1) / 2
        angle = math.atan2(sine, cosine)
        if sine < 1e-6 and cosine < 0:
            # half a turn: the axis is the symmetric part's
            values, vectors = np.linalg.eigh(self.rotation + self.rotation.T)
            omega = angle * vectors[:, values.argmax()]
        else:
            omega = axis * (angle / sine if angle > _SMALL_ANGLE else 1 + angle**2 / 6)
        k = _cross(omega)
        if angle < _SMALL_ANGLE:
            d = 1 / 12 + angle**2 / 720
        else:
            d = 1 / angle**2 - (1 + math.cos(angle)) / (2 * angle * math.sin(angle)) if sine > 1e-6 else 1 / angle**2
        return np.concatenate([(np.eye(3) - k / 2 + d * k @ k) @ self.translation_mm, omega])

    @property
    def adjoint(self) -> FloatArray:
        """(6, 6): takes a twist of the source's space to the same motion's twist in the target's."""
        matrix = np.zeros((6, 6))
        matrix[:3, :3] = matrix[3:, 3:] = self.rotation
        matrix[:3, 3:] = _cross(self.translation_mm) @ self.rotation
        return matrix

    @property
    def affine(self) -> FloatArray:
        """(4, 4): the same motion of homogeneous coordinates."""
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = self.rotation, self.translation_mm
        return matrix

    @property
    def angle_rad(self) -> float:
        """How far it turns."""
        return float(np.linalg.norm(self.twist()[3:]))

    def apply(self, points_mm: ArrayLike) -> FloatArray:
        """Points (..., 3) moved."""
        return np.asarray(np.asarray(points_mm, dtype=np.float64) @ self.rotation.T + self.translation_mm)

    def turn(self, directions: ArrayLike) -> FloatArray:
        """Directions (..., 3) turned: B0's too, which stays with the scanner while the body moves."""
        return np.asarray(np.asarray(directions, dtype=np.float64) @ self.rotation.T)

    def inverse(self) -> Rigid:
        """The motion back, with its covariance about the other origin."""
        back = Rigid(self.rotation.T, -self.rotation.T @ self.translation_mm)
        return back.with_covariance(_carry(back.adjoint, self._covariance))

    def after(self, first: Rigid) -> Rigid:
        """This motion after ``first``; their errors are taken for independent."""
        rotation = self.rotation @ first.rotation
        shift = self.rotation @ first.translation_mm + self.translation_mm
        return Rigid(rotation, shift, self._covariance + _carry(self.adjoint, first._covariance))

    def with_covariance(self, covariance: FloatArray) -> Rigid:
        """The same motion, known with ``covariance`` (6, 6)."""
        return Rigid(self.rotation, self.translation_mm, covariance)

    def carry_covariance(self, points_mm: ArrayLike, covariance_mm2: ArrayLike | None = None) -> FloatArray:
        """Covariance (..., 3, 3), mm², of the moved places of points (..., 3) known with ``covariance_mm2``.

        R C Rᵀ + J Σ Jᵀ with J = [1, −[x']×]: the farther a place from where the motion is known best, the more the
        error of the rotation moves it.
        """
        moved = self.apply(points_mm)
        total = place_covariance(self._covariance, moved)
        if covariance_mm2 is None:
            return total
        return np.asarray(total + _carry(self.rotation, np.asarray(covariance_mm2, dtype=np.float64)))

    @property
    def _covariance(self) -> FloatArray:
        assert self.covariance is not None
        return self.covariance


def place_covariance(covariance: FloatArray, points_mm: FloatArray) -> FloatArray:
    """Covariance (..., 3, 3), mm², that the covariance (6, 6) of a small motion (v, ω) gives places (..., 3)."""
    jacobian = np.zeros((*np.shape(points_mm)[:-1], 3, 6))
    jacobian[..., :3] = np.eye(3)
    x, y, z = np.moveaxis(np.asarray(points_mm), -1, 0)
    # ω × x = −[x]× ω
    jacobian[..., 0, 4], jacobian[..., 0, 5] = z, -y
    jacobian[..., 1, 3], jacobian[..., 1, 5] = -z, x
    jacobian[..., 2, 3], jacobian[..., 2, 4] = y, -x
    return np.asarray(jacobian @ covariance @ np.swapaxes(jacobian, -1, -2))


def _cross(v: FloatArray) -> FloatArray:
    x, y, z = v
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def _carry(matrix: FloatArray, covariance: FloatArray) -> FloatArray:
    carried = matrix @ covariance @ matrix.T
    return np.asarray((carried + np.swapaxes(carried, -1, -2)) / 2)


@dataclass(frozen=True, eq=False)
class VisitImage:
    """What registration sees of a visit.

    Parameters
    ----------
    session : BIDS label of the visit; no two of a subject are the same
    magnitude : float32 (x, y, z), any unit; of all visits the same kind of contrast
    grid : where its voxels lie, in this visit's scanner RAS+ mm
    mask : bool (x, y, z), tissue
    excluded : bool (x, y, z), clusters and what they darken: not looked at
    b0_direction : unit vector (3,) in scanner RAS+
    """

    session: str
    magnitude: NDArray[np.float32]
    grid: Grid
    mask: NDArray[np.bool_]
    excluded: NDArray[np.bool_]
    b0_direction: FloatArray | tuple[float, float, float] = (0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        shape = self.grid.shape
        set_field(self, "magnitude", frozen_array("magnitude", self.magnitude, np.float32, shape, finite=True))
        set_field(self, "mask", frozen_array("mask", self.mask, np.bool_, shape))
        set_field(self, "excluded", frozen_array("excluded", self.excluded, np.bool_, shape))
        set_field(self, "b0_direction", frozen_array("b0_direction", self.b0_direction, np.float64, (3,), finite=True))
        if not (self.mask & ~self.excluded).any():
            raise ImageError(
                f"visit {self.session!r} needs tissue outside of its clusters to be registered, but has none; "
                "check its mask."
            )


@dataclass(frozen=True, eq=False)
class PairRegistration:
    """One visit laid onto another.

    Parameters
    ----------
    first, second : sessions
    transform : ``second``'s scanner RAS+ mm to ``first``'s; None where none was found
    status : ``used`` in the subject's space, or why not: ``no_overlap``, ``failed`` (the images do not match, or the
        error is too large), ``inconsistent`` (with the other pairs)
    overlap : share of the smaller tissue that both see
    similarity : correlation of the two images where both see tissue, their smooth parts taken off; NaN if not known
    error_mm : predicted RMS error of places in the tissue; NaN if not known
    loop_mm : RMS distance between where this pair and all pairs together put the tissue; NaN if not known
    """

    first: str
    second: str
    transform: Rigid | None
    status: PairStatus
    overlap: float
    similarity: float
    error_mm: float
    loop_mm: float


@dataclass(frozen=True, eq=False)
class VisitPose:
    """Where a visit lies in the subject's space.

    ``to_subject`` takes the visit's scanner RAS+ mm to the subject's RAS+ mm, None where the visit could not be
    registered. Its covariance is the visit's own share of the error: those of two visits add up to that between them.
    ``b0_direction`` is B0's direction in the subject's space: a dipole turns with the scanner, not with the body.
    """

    session: str
    to_subject: Rigid | None
    b0_direction: FloatArray | None


@dataclass(frozen=True, eq=False)
class SubjectSpace:
    """All visits of a subject in one space, in the middle of them: no visit is favoured.

    ``joint_covariance`` (6 n, 6 n) is that of the small motions (v, ω), about the subject's origin, of the n visits
    that were registered, in order, with no motion common to all.
    """

    poses: tuple[VisitPose, ...]
    pairs: tuple[PairRegistration, ...]
    joint_covariance: FloatArray

    def __post_init__(self) -> None:
        n = 6 * len(self.registered)
        set_field(self, "joint_covariance", frozen_array("joint_covariance", self.joint_covariance, float, (n, n)))

    @property
    def registered(self) -> tuple[str, ...]:
        """Sessions of the visits that lie in the subject's space."""
        return tuple(pose.session for pose in self.poses if pose.to_subject is not None)

    def pose(self, session: str) -> VisitPose:
        """The visit's pose; ``InputError`` if there is no such visit."""
        for pose in self.poses:
            if pose.session == session:
                return pose
        known = ", ".join(pose.session for pose in self.poses)
        raise InputError(f"there is no visit {session!r} in this subject; it has {known}.")

    def between(self, first: str, second: str) -> Rigid:
        """From ``second``'s scanner space to ``first``'s, with the covariance of the two visits' errors together."""
        poses = [self.pose(session).to_subject for session in (first, second)]
        if poses[0] is None or poses[1] is None:
            raise InputError(f"visits {first!r} and {second!r} must both be registered, but are not.")
        slices = [slice(6 * i, 6 * i + 6) for i in (self.registered.index(first), self.registered.index(second))]
        one, two = slices
        joint = self.joint_covariance
        apart = joint[one, one] + joint[two, two] - joint[one, two] - joint[two, one]
        back = Rigid(poses[0].rotation, poses[0].translation_mm).inverse()
        moved = back.after(Rigid(poses[1].rotation, poses[1].translation_mm))
        return moved.with_covariance(_carry(back.adjoint, apart))


@dataclass(frozen=True, eq=False)
class PetPose:
    """Where a PET image lies beside the MRI of its visit.

    Parameters
    ----------
    to_mri : PET's RAS+ mm to the MRI's scanner RAS+ mm, with its covariance
    source : what says so: ``images`` (registered), ``header`` (kept, since the images do not contradict it or because
        it is stated how well headers agree) or ``assumed`` (the header, with an error that is no more than a guess)
    overlap : share of the smaller tissue that both see
    similarity : informational coefficient of correlation of the two images, 0 to 1 (Linfoot 1957, Inf Control 1:85);
        NaN if not known
    shift_mm : RMS distance between where the images and where the headers put the tissue; NaN if not known
    error_mm : predicted RMS error of places in the tissue
    sentence : all that in words
    """

    to_mri: Rigid
    source: PetPoseSource
    overlap: float
    similarity: float
    shift_mm: float
    error_mm: float
    sentence: str
