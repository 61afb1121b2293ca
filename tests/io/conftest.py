"""A BIDS folder built file by file, so that each test can spoil exactly one thing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

SHAPE = (5, 7, 4)


def oblique_affine(voxel_mm: tuple[float, float, float] = (0.3, 0.5, 0.8)) -> np.ndarray:
    """Unequal voxels, two tilts, one flipped axis."""
    a, b = 0.4, -0.3
    tilt_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    tilt_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = tilt_z @ tilt_x @ np.diag([-voxel_mm[0], voxel_mm[1], voxel_mm[2]])
    affine[:3, 3] = (3.0, -2.0, 11.0)
    return affine


@dataclass
class Study:
    """A BIDS folder under construction."""

    root: Path

    def save(self, name: str, data: Any, sidecar: Mapping[str, Any] | None = None, affine: Any = None) -> Path:
        """An image under anat of the subject (and session) that its name gives, with its sidecar."""
        entities = dict(part.split("-") for part in name.split("_")[:-1])
        folder = self.root / f"sub-{entities['sub']}"
        if "ses" in entities:
            folder /= f"ses-{entities['ses']}"
        path = folder / "anat" / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(data, oblique_affine() if affine is None else affine), path)
        if sidecar is not None:
            self.say(path.with_name(f"{name}.json"), sidecar)
        return path

    def say(self, path: Path | str, content: Mapping[str, Any]) -> Path:
        """A sidecar at a path relative to the folder."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(content))
        return target

    def change(self, pattern: str, **fields: Any) -> None:
        """Set fields of every sidecar that matches; None removes one."""
        paths = sorted(self.root.rglob(pattern))
        assert paths
        for path in paths:
            content = {**json.loads(path.read_text()), **fields}
            path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))

    def add_scan(self, stem: str = "sub-01", n_echoes: int = 2, suffix: str = "MEGRE", **common: Any) -> np.ndarray:
        """A good scan; returns its signal (echo, x, y, z)."""
        rng = np.random.default_rng(len(stem) + n_echoes)
        signal = rng.normal(size=(n_echoes, *SHAPE)) + 1j * rng.normal(size=(n_echoes, *SHAPE))
        for index, echo in enumerate(signal.astype(np.complex64), start=1):
            sidecar = {"EchoTime": 0.004 * index, "MagneticFieldStrength": 7.0, **common}
            name = f"{stem}_echo-{index}" if suffix == "MEGRE" else stem
            self.save(f"{name}_part-mag_{suffix}", np.abs(echo), sidecar)
            self.save(f"{name}_part-phase_{suffix}", np.angle(echo), {**sidecar, "Units": "rad"})
        return signal.astype(np.complex64)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """An empty folder to build in."""
    root = tmp_path / "bids"
    root.mkdir()
    return Study(root)


@pytest.fixture
def oblique() -> np.ndarray:
    """An affine with unequal voxels, two tilts and a flipped axis."""
    return oblique_affine()
