"""Files in and out. Inputs are only ever read; outputs appear whole or not at all."""

from ferrosight.io.atomic import remove_file, write_json_atomic, write_text_atomic
from ferrosight.io.bids import ImageFile, VisitFiles, find_visits, read_bids, read_visit
from ferrosight.io.bids_write import write_scan, write_study, write_truth
from ferrosight.io.calibration_file import read_calibration, read_phantom, write_calibration
from ferrosight.io.known_visits import (
    FoundFiles,
    KnownVisitFiles,
    find_known_visits,
    read_known_visit,
    read_truth_voxel,
)
from ferrosight.io.lesions import read_lesions
from ferrosight.io.nifti import NiftiImage, read_nifti, write_nifti
from ferrosight.io.outputs import check_out_dir, output_path, write_dataset_description
from ferrosight.io.participants import (
    Participant,
    Session,
    find_participant,
    find_session,
    read_participants,
    read_sessions,
)
from ferrosight.io.pet import PetFile, find_pet_files, find_pet_visits, read_bids_pet, read_pet_file
from ferrosight.io.pet_dicom import read_pet_dicom
from ferrosight.io.tables import read_table, write_table
from ferrosight.io.uptake_file import read_assays, read_course, read_fits, write_course, write_fits

__all__ = [
    "FoundFiles",
    "ImageFile",
    "KnownVisitFiles",
    "NiftiImage",
    "Participant",
    "PetFile",
    "Session",
    "VisitFiles",
    "check_out_dir",
    "find_known_visits",
    "find_participant",
    "find_pet_files",
    "find_pet_visits",
    "find_session",
    "find_visits",
    "output_path",
    "read_assays",
    "read_bids",
    "read_bids_pet",
    "read_calibration",
    "read_course",
    "read_fits",
    "read_known_visit",
    "read_lesions",
    "read_nifti",
    "read_participants",
    "read_pet_dicom",
    "read_pet_file",
    "read_phantom",
    "read_sessions",
    "read_table",
    "read_truth_voxel",
    "read_visit",
    "remove_file",
    "write_calibration",
    "write_course",
    "write_dataset_description",
    "write_fits",
    "write_json_atomic",
    "write_nifti",
    "write_scan",
    "write_study",
    "write_table",
    "write_text_atomic",
    "write_truth",
]
