"""Where every product goes under OUT_DIR: BIDS derivative names, from the registry outputs.json."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from pathlib import Path

from ferrosight import __version__
from ferrosight.errors import BidsError
from ferrosight.io.atomic import write_json_atomic
from ferrosight.io.bids_names import clean_label, visit_stem

_BIDS_VERSION = "1.10.0"
_DESCRIPTION = "dataset_description.json"
_NAME = "Ferrosight"


@cache
def product_paths() -> dict[str, str]:
    """Every product's path pattern: ``[...]`` is left out where the label in it is missing."""
    registry = json.loads(files("ferrosight.io").joinpath("outputs.json").read_text(encoding="utf-8"))
    return {product: entry["path"] for product, entry in registry.items()}


def output_path(
    out_dir: Path | str,
    product: str,
    subject: str = "",
    session: str = "",
    run: str = "",
    *,
    acquisition: str = "",
    tracer: str = "",
    reconstruction: str = "",
) -> Path:
    """The path of one product, e.g. ``OUT/sub-01/ses-d07/anat/sub-01_ses-d07_clusters.tsv``.

    Raises KeyError for a product that is not in the registry, ValueError where it needs a subject.
    """
    pattern = product_paths()[product]
    labels = {
        "subject": clean_label("sub", subject),
        "session": clean_label("ses", session),
        "visit": visit_stem(
            clean_label("sub", subject),
            clean_label("ses", session),
            clean_label("acq", acquisition),
            clean_label("run", run),
            tracer=clean_label("trc", tracer),
            reconstruction=clean_label("rec", reconstruction),
        ),
    }
    if "{subject}" in pattern and not subject:
        raise ValueError(f"product {product} belongs to a subject, but none was named")
    optional = re.sub(r"\[([^]]*\{(\w+)\}[^]]*)\]", lambda m: m[1] if labels[m[2]] else "", pattern)
    return Path(out_dir) / optional.format_map(labels)


def check_out_dir(bids_dir: Path | str, out_dir: Path | str) -> None:
    """Refuse an OUT_DIR where writing would change data that are not Ferrosight's own.

    Raises
    ------
    BidsError
        Where OUT_DIR is BIDS_DIR, lies in it other than under ``derivatives``, or is another data set.
    """
    source, target = Path(bids_dir).resolve(), Path(out_dir).resolve()
    if target == source:
        raise BidsError(f"OUT_DIR must differ from BIDS_DIR, which is never written to, but both are {target}.")
    if target.is_relative_to(source):
        top, *below = target.relative_to(source).parts
        if top != "derivatives" or not below:
            raise BidsError(
                f"OUT_DIR must lie outside BIDS_DIR, or in a folder of its own in its derivatives, but is {target}."
            )
    if target.exists() and not target.is_dir():
        raise BidsError(f"OUT_DIR must be a folder, but {target} is a file.")
    check_own_dataset(target, "derivative")


def check_own_dataset(folder: Path, kind: str) -> None:
    """Raise BidsError where ``folder`` is a data set, unless Ferrosight made it as ``kind`` (its DatasetType)."""
    path = folder / _DESCRIPTION
    if not path.exists():
        return
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        own = content["DatasetType"] == kind and _NAME in [maker["Name"] for maker in content["GeneratedBy"]]
    except (OSError, ValueError, TypeError, KeyError):
        own = False
    if not own:
        raise BidsError(f"{folder} belongs to another data set, as its {_DESCRIPTION} says; choose another folder.")


def write_dataset_description(out_dir: Path | str) -> Path:
    """Write the ``dataset_description.json`` of a folder of derivatives, with ``GeneratedBy``."""
    return _write_description(Path(out_dir), f"{_NAME} derivatives", "derivative")


def write_raw_description(bids_dir: Path, name: str) -> Path:
    """Write the ``dataset_description.json`` of simulated scans."""
    return _write_description(bids_dir, name, "raw")


def _write_description(folder: Path, name: str, kind: str) -> Path:
    content = {
        "Name": name,
        "BIDSVersion": _BIDS_VERSION,
        "DatasetType": kind,
        "GeneratedBy": [{"Name": _NAME, "Version": __version__}],
    }
    return write_json_atomic(folder / _DESCRIPTION, content)
