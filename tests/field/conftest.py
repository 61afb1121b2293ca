"""Scans of known field, relaxation, noise and k-space support."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

FULL = (-0.5, 0.5)
#: Acquired k-space by name, cycles per voxel.
BANDS = {
    "full": FULL,
    "filled 1.5x": (-1 / 3, 1 / 3),
    "filled 2x": (-0.25, 0.25),
    "5/8": (-0.125, 0.5),
    "6/8": (-0.25, 0.5),
    "6/8 other side": (-0.5, 0.25),
    "7/8": (-0.375, 0.5),
}

Bands = tuple[tuple[float, float], ...]


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """One stream per test, the same every time: named after the test, not picked."""
    return np.random.default_rng(list(request.node.nodeid.encode()))


def complex_noise(rng: np.random.Generator, shape: tuple[int, ...], sd: float = 1.0) -> NDArray[np.complex128]:
    """White noise of standard deviation ``sd`` in each real channel."""
    return sd * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))


def acquire(image: NDArray[np.complex128], bands: Bands) -> NDArray[np.complex128]:
    """The image as k-space limited to ``bands`` gives it; lines outside are filled with zeros."""
    k_space = np.fft.fftshift(np.fft.fftn(image))
    for axis, (low, high) in enumerate(bands):
        frequency = np.arange(image.shape[axis]) / image.shape[axis] - 0.5
        keep = (frequency >= low - 1e-9) & (frequency < high - 1e-9)
        k_space *= keep.reshape([-1 if a == axis else 1 for a in range(3)])
    return np.fft.ifftn(np.fft.ifftshift(k_space))


def share_acquired(shape: tuple[int, ...], bands: Bands) -> float:
    """Fraction of k-space points that ``acquire`` keeps: the noise's variance falls by it."""
    share = 1.0
    for n, (low, high) in zip(shape, bands, strict=True):
        frequency = np.arange(n) / n - 0.5
        share *= float(np.mean((frequency >= low - 1e-9) & (frequency < high - 1e-9)))
    return share


def coordinates(shape: tuple[int, ...]) -> list[NDArray[np.float64]]:
    """Position from -1 to 1 along each axis."""
    return list(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))


def smooth_object(shape: tuple[int, ...]) -> NDArray[np.complex128]:
    """A bell with a curved phase and nothing at high k."""
    x, y, z = coordinates(shape)
    return np.exp(-(x**2 + y**2 + z**2) / 0.3) * np.exp(1j * (3 * x**2 + 4 * y * z + 2 * x))


def box_object(shape: tuple[int, ...]) -> NDArray[np.complex128]:
    """A sharp-edged box with a curved phase."""
    x, y, z = coordinates(shape)
    inside = (np.abs(x) < 0.6) & (np.abs(y) < 0.7) & (np.abs(z) < 0.8)
    return inside * np.exp(1j * (3 * x**2 + 4 * y * z - x))


def dipole_object(rng: np.random.Generator, shape: tuple[int, ...], count: int) -> NDArray[np.complex128]:
    """Tissue everywhere, with ``count`` dipoles of a voxel or two: voids, and phase in lobes."""
    x, y, z = coordinates(shape)
    phase = 2 * x * y + z
    grid = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
    magnitude = 1 + 0.3 * x
    for _ in range(count):
        r = [g - rng.uniform(0, n) for g, n in zip(grid, shape, strict=True)]
        r2 = r[0] ** 2 + r[1] ** 2 + r[2] ** 2 + 1.0
        phase = phase + rng.uniform(1, 8) * (3 * r[2] ** 2 / r2 - 1) / r2**1.5
        magnitude = magnitude * (1 - np.exp(-r2 / 4))
    return magnitude * np.exp(1j * phase)


@pytest.fixture(scope="session")
def phantoms() -> ModuleType:
    """This module: test folders are no packages, so that what they share comes through a fixture."""
    return sys.modules[__name__]
