"""BIDS file names: entities, suffixes, labels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ferrosight.errors import BidsError

IMAGE_EXTENSIONS = (".nii.gz", ".nii")
_LABEL = re.compile(r"[0-9A-Za-z+]+")
_ENTITY = re.compile(r"([a-z]+)-([0-9A-Za-z+]+)")


@dataclass(frozen=True)
class BidsName:
    """A file name taken apart: ``sub-01_echo-1_part-mag_MEGRE.nii.gz`` has three entities."""

    entities: Mapping[str, str]
    suffix: str
    extension: str


def parse_name(name: str) -> BidsName | None:
    """Take a BIDS file name apart, or return None where it is none."""
    stem, dot, extension = name.partition(".")
    *parts, suffix = stem.split("_")
    if not dot or "-" in suffix or not suffix:
        return None
    matches = [_ENTITY.fullmatch(part) for part in parts]
    entities = {match[1]: match[2] for match in matches if match}
    if len(entities) != len(parts):
        return None
    return BidsName(entities, suffix, dot + extension)


def clean_label(entity: str, label: str) -> str:
    """``label`` without its prefix (``sub-01`` is ``01``); "" stays "".

    Raises BidsError where it is not letters and digits.
    """
    bare = label.removeprefix(f"{entity}-")
    if bare and not _LABEL.fullmatch(bare):
        raise BidsError(f"a BIDS label consists of letters and digits, but {entity}- was given {label!r}.")
    return bare


def visit_stem(
    subject: str,
    session: str = "",
    acquisition: str = "",
    run: str = "",
    *,
    tracer: str = "",
    reconstruction: str = "",
) -> str:
    """``sub-01[_ses-d07][_acq-hi][_trc-FDG][_rec-osem][_run-1]``."""
    pairs = (
        *(("sub", subject), ("ses", session), ("acq", acquisition)),
        *(("trc", tracer), ("rec", reconstruction), ("run", run)),
    )
    return "_".join(f"{entity}-{label}" for entity, label in pairs if label)


def same_label(a: str, b: str) -> bool:
    """Whether two labels are the same; indices are, whatever their zero padding."""
    return a == b or (a.isdigit() and b.isdigit() and int(a) == int(b))
