"""The frozen data that flows between stages. Nothing here computes, reads or prints."""

from ferrosight.types.catalogue import GRAFT_ESTIMATOR, Catalogue, FitPatch, NullCalibration, name_clusters
from ferrosight.types.config import Config
from ferrosight.types.evaluation import Evaluation, KnownVisit, Matching
from ferrosight.types.evidence import EvidenceMap
from ferrosight.types.field import AxisSupport, FieldMap, Noise
from ferrosight.types.flags import FLAG_INFO, Flag, flag_names, rejects
from ferrosight.types.grid import Grid
from ferrosight.types.label import IronPerCell, Label
from ferrosight.types.limit import DetectionLimit, LimitMap, PowerCurve, Protocol, Search
from ferrosight.types.pet import Isotope, PetCatalogue, PetResponse, PetScan, PetUnit
from ferrosight.types.progress import Progress
from ferrosight.types.scan import PhaseSign, Scan
from ferrosight.types.schema import (
    CLUSTERS,
    FITS,
    FORCED,
    NULLS,
    PET_CLUSTERS,
    PET_FORCED,
    PET_TRUTH,
    SCHEMAS,
    TRUTH,
    Column,
    TableSchema,
)
from ferrosight.types.table import Table
from ferrosight.types.truth import Truth

__all__ = [
    "CLUSTERS",
    "FITS",
    "FLAG_INFO",
    "FORCED",
    "GRAFT_ESTIMATOR",
    "NULLS",
    "PET_CLUSTERS",
    "PET_FORCED",
    "PET_TRUTH",
    "SCHEMAS",
    "TRUTH",
    "AxisSupport",
    "Catalogue",
    "Column",
    "Config",
    "DetectionLimit",
    "Evaluation",
    "EvidenceMap",
    "FieldMap",
    "FitPatch",
    "Flag",
    "Grid",
    "IronPerCell",
    "Isotope",
    "KnownVisit",
    "Label",
    "LimitMap",
    "Matching",
    "Noise",
    "NullCalibration",
    "PetCatalogue",
    "PetResponse",
    "PetScan",
    "PetUnit",
    "PhaseSign",
    "PowerCurve",
    "Progress",
    "Protocol",
    "Scan",
    "Search",
    "Table",
    "TableSchema",
    "Truth",
    "flag_names",
    "name_clusters",
    "rejects",
]
