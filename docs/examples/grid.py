"""Voxel indices and millimetres: whole indices are voxel centres."""

import numpy as np

from ferrosight.types import Grid

affine = np.diag([0.1, 0.1, 0.2, 1.0])
affine[:3, 3] = [-5.0, -5.0, 0.0]
grid = Grid((100, 100, 40), affine)

assert np.allclose(grid.to_mm([0, 0, 0]), [-5.0, -5.0, 0.0])
assert np.allclose(grid.to_ijk([-4.95, -5.0, 0.1]), [0.5, 0.0, 0.5])
print(grid.voxel_mm)
