"""What a protocol becomes when its voxel or its scan time changes."""

from __future__ import annotations

import dataclasses
import math

from ferrosight.types import Protocol, Search


def change_voxel(protocol: Protocol, search: Search, voxel_mm: tuple[float, float, float]) -> tuple[Protocol, Search]:
    """The same field of view in the same time, with other voxels.

    SNR goes with the voxel's volume, and the number of positions against it.
    """
    changed = dataclasses.replace(protocol, voxel_mm=voxel_mm)
    ratio = changed.voxel_volume_m3 / protocol.voxel_volume_m3
    return (
        dataclasses.replace(changed, snr=protocol.snr * ratio),
        dataclasses.replace(search, positions=search.positions / ratio),
    )


def change_scan_time(protocol: Protocol, factor: float) -> Protocol:
    """The same protocol averaged for ``factor`` times as long: SNR goes with its root."""
    return dataclasses.replace(protocol, snr=protocol.snr * math.sqrt(factor))
