"""What could be seen at all: the ideal observer's limit of detection."""

from ferrosight.limits.limit_map import map_limit
from ferrosight.limits.observer import find_limit, trace_power
from ferrosight.limits.protocols import change_scan_time, change_voxel

__all__ = ["change_scan_time", "change_voxel", "find_limit", "map_limit", "trace_power"]
