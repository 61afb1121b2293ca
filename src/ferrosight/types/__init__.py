"""The frozen data that flows between stages. Nothing here computes, reads or prints."""

from ferrosight.types.calibration import Calibration
from ferrosight.types.catalogue import (
    FEW_DECOYS,
    GRAFT_ESTIMATOR,
    Catalogue,
    FitPatch,
    NullCalibration,
    name_clusters,
)
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
    JOINT_CLUSTERS,
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
from ferrosight.types.tracks import Detections, LinkKind, Links, Optimality, TrackPlaces, TrackSet
from ferrosight.types.transforms import PairRegistration, PetPose, Rigid, SubjectSpace, VisitImage, VisitPose
from ferrosight.types.truth import Truth
from ferrosight.types.uptake import UptakeCourse, UptakeFit

__all__ = [
    "CLUSTERS",
    "FEW_DECOYS",
    "FITS",
    "FLAG_INFO",
    "FORCED",
    "GRAFT_ESTIMATOR",
    "JOINT_CLUSTERS",
    "NULLS",
    "PET_CLUSTERS",
    "PET_FORCED",
    "PET_TRUTH",
    "SCHEMAS",
    "TRUTH",
    "AxisSupport",
    "Calibration",
    "Catalogue",
    "Column",
    "Config",
    "DetectionLimit",
    "Detections",
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
    "LinkKind",
    "Links",
    "Matching",
    "Noise",
    "NullCalibration",
    "Optimality",
    "PairRegistration",
    "PetCatalogue",
    "PetPose",
    "PetResponse",
    "PetScan",
    "PetUnit",
    "PhaseSign",
    "PowerCurve",
    "Progress",
    "Protocol",
    "Rigid",
    "Scan",
    "Search",
    "SubjectSpace",
    "Table",
    "TableSchema",
    "TrackPlaces",
    "TrackSet",
    "Truth",
    "UptakeCourse",
    "UptakeFit",
    "VisitImage",
    "VisitPose",
    "flag_names",
    "name_clusters",
    "rejects",
]
