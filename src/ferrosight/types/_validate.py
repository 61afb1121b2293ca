"""Checks shared by the frozen types: shapes, finiteness, and arrays that nobody can change."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ferrosight.errors import InputError


def frozen_array(
    name: str,
    value: Any,
    dtype: DTypeLike,
    shape: tuple[int | None, ...] | None = None,
    *,
    finite: bool = False,
) -> NDArray[Any]:
    """Return ``value`` as a read-only array, or raise a sentence naming what is wrong.

    ``None`` in ``shape`` leaves that axis free. An array that must be converted is copied; one that is
    already right is viewed, so that large images are not held twice.
    """
    array = np.asarray(value, dtype=dtype)
    if shape is not None:
        fits = array.ndim == len(shape) and all(
            want is None or want == got for want, got in zip(shape, array.shape, strict=False)
        )
        if not fits:
            expected = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
            raise InputError(f"{name} must have shape {expected}, but has {array.shape}.")
    if finite and not np.isfinite(array).all():
        bad = int(np.size(array) - np.count_nonzero(np.isfinite(array)))
        raise InputError(f"{name} must be finite everywhere, but {bad} of its {array.size} values are not.")
    view = array.view()
    view.setflags(write=False)
    return view


def set_field(instance: object, name: str, value: Any) -> None:
    """Store a validated value on a frozen dataclass while it is being built."""
    object.__setattr__(instance, name, value)
