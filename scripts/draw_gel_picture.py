"""Draw the README's picture: the real gel, and what is accepted in it.

    FERROSIGHT_DATA=... uv run python scripts/draw_gel_picture.py

Scan: P. H. Mills and E. T. Ahrens, MRI-PDQ (MIT with attribution).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import ndimage

import ferrosight as fs

OUT = Path(__file__).resolve().parent.parent / "docs" / "images" / "gel.png"
INK = "#1f2430"
MARK = "#e8590c"


def main() -> None:
    """Analyse and draw."""
    scan = fs.read_bids(Path(os.environ["FERROSIGHT_DATA"]) / "gel", subject="gel")
    catalogue = fs.analyse_scan(scan, label="ferumoxides")
    magnitude = np.abs(scan.signal[0])
    smooth = ndimage.gaussian_filter(magnitude, 12)
    darkest = (magnitude / np.maximum(smooth, 0.3 * smooth.max())).min(axis=2)
    accepted = catalogue.clusters["status"] == "accepted"
    voxels = np.stack([catalogue.fits[f"{axis}_voxel"][accepted] for axis in "ij"], axis=1)
    moment = catalogue.clusters["moment_am2"][accepted]
    figure = Figure(figsize=(11.5, 8.6), dpi=110, facecolor="white", layout="constrained")
    plain, marked = figure.subplots(1, 2, sharex=True, sharey=True)
    titles = ("11.7 T gel, eight slices: darkest voxel", f"{accepted.sum()} accepted clusters")
    for axes, title in zip((plain, marked), titles, strict=True):
        draw_scan(axes, darkest, scan.grid.voxel_mm)
        axes.set_title(title, color=INK, fontsize=13, loc="left")
    size = 14 * (moment / np.median(moment)) ** (2 / 3)
    marked.scatter(
        voxels[:, 1] * scan.grid.voxel_mm[1], voxels[:, 0] * scan.grid.voxel_mm[0],
        s=np.clip(size, 8, 220), facecolors="none", edgecolors=MARK, linewidths=1.0,
    )  # fmt: skip
    figure.supxlabel(
        "Scan: P. H. Mills, E. T. Ahrens (MRI-PDQ, MIT with attribution)",
        fontsize=8,
        color="#6b7280",
        x=0.99,
        ha="right",
    )
    OUT.parent.mkdir(exist_ok=True)
    figure.savefig(OUT)
    sys.stdout.write(f"{OUT.name}: {int(accepted.sum())} accepted\n")


def draw_scan(axes: Axes, image: np.ndarray, voxel_mm: tuple[float, float, float]) -> None:
    """A projection in mm, B0 (the first array axis) upwards."""
    height, width = image.shape[0] * voxel_mm[0], image.shape[1] * voxel_mm[1]
    axes.imshow(image, cmap="gray", vmin=0.1, vmax=1.15, origin="lower", extent=(0, width, 0, height), aspect="equal")
    axes.set_xlabel("mm", color=INK)
    axes.tick_params(colors=INK)
    for side in axes.spines.values():
        side.set_visible(False)


if __name__ == "__main__":
    main()
