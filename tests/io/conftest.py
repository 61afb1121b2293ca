"""A BIDS folder built file by file, so that each test can spoil exactly one thing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

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


PetWriter = Callable[..., Path]

#: A good series: BQML, corrected to its start, one hour after 300 MBq.
PET_HEADER: dict[str, Any] = {
    "Modality": "PT",
    "Units": "BQML",
    "DecayCorrection": "START",
    "CorrectedImage": ["DECY", "ATTN", "SCAT"],
    "SeriesDate": "20240305",
    "SeriesTime": "101500",
    "AcquisitionDate": "20240305",
    "AcquisitionTime": "101500",
    "ActualFrameDuration": 600000,
    "FrameReferenceTime": 0.0,
    "PatientWeight": 80.0,
    "PatientSize": 1.8,
    "PatientSex": "M",
}
PET_DRUG: dict[str, Any] = {
    "RadionuclideTotalDose": 3e8,
    "RadionuclideHalfLife": 6586.2,
    "RadiopharmaceuticalStartTime": "091500",
    "RadiopharmaceuticalStartDateTime": "20240305091500",
    "isotope": "^18^Fluorine",
}


@pytest.fixture
def write_pet_dicom(tmp_path: Path) -> PetWriter:
    """A function that writes a series: stored values (volume, x, y, z), an RAS+ affine, and header fields to change.

    A field that is None is left out; one that is a function gets (volume, z). ``slopes`` (z,) rescale each slice.
    """

    def write(
        stored: np.ndarray,
        affine: np.ndarray | None = None,
        drug: Mapping[str, Any] | None = None,
        private: Mapping[tuple[int, str, int], float] | None = None,
        slopes: Sequence[float] | None = None,
        name: str = "series",
        **fields: Any,
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        affine = oblique_affine((2.0, 3.0, 4.0)) if affine is None else affine
        header = {**PET_HEADER, **fields}
        uid = generate_uid(entropy_srcs=[name])
        names = iter(np.random.default_rng(0).permutation(stored.shape[0] * stored.shape[3]))
        for volume, z in np.ndindex(stored.shape[0], stored.shape[3]):
            dataset = _build_slice(stored[volume, :, :, z], affine, z, slopes[z] if slopes else 1.0)
            dataset.SeriesInstanceUID = uid
            dataset.InstanceNumber = volume * stored.shape[3] + z + 1
            for field, value in header.items():
                chosen = value(volume, z) if callable(value) else value
                if chosen is not None:
                    setattr(dataset, field, chosen)
            _add_drug(dataset, {**PET_DRUG, **(drug or {})})
            for (group, creator, element), number in (private or {}).items():
                block = dataset.private_block(group, creator, create=True)
                block.add_new(element, "DS", number)
            dataset.save_as(folder / f"{next(names):03}.dcm", enforce_file_format=True)
        return folder

    return write


def _build_slice(stored: np.ndarray, affine: np.ndarray, z: int, slope: float) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.128"
    dataset.SOPInstanceUID = generate_uid()
    to_lps = np.diag([-1.0, -1.0, 1.0])
    columns = to_lps @ affine[:3, :3]
    lengths = np.linalg.norm(columns, axis=0)
    dataset.ImageOrientationPatient = [
        *map(_short, columns[:, 0] / lengths[0]),
        *map(_short, columns[:, 1] / lengths[1]),
    ]
    dataset.ImagePositionPatient = [*map(_short, to_lps @ affine[:3, 3] + z * columns[:, 2])]
    dataset.PixelSpacing = [_short(lengths[1]), _short(lengths[0])]
    dataset.SliceThickness = _short(lengths[2])
    dataset.Rows, dataset.Columns = stored.shape[1], stored.shape[0]
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation, dataset.SamplesPerPixel = 15, 1, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.RescaleSlope, dataset.RescaleIntercept = slope, 0.0
    dataset.PixelData = np.ascontiguousarray(stored.T.astype("<i2")).tobytes()
    return dataset


def _short(value: float) -> str:
    return f"{value:.10f}"[:16]


def _add_drug(dataset: Dataset, fields: dict[str, Any]) -> None:
    item = Dataset()
    isotope = fields.pop("isotope")
    for field, value in fields.items():
        if value is not None:
            setattr(item, field, value)
    if isotope:
        code = Dataset()
        code.CodeMeaning = isotope
        item.RadionuclideCodeSequence = [code]
    dataset.RadiopharmaceuticalInformationSequence = [item]
