"""What could be seen at all: the ideal observer's limit of detection."""

from ferrosight.limits.limit_map import map_limit
from ferrosight.limits.observer import find_limit, trace_power

__all__ = ["find_limit", "map_limit", "trace_power"]
