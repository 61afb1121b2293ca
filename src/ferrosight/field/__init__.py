"""From a scan to its field, relaxation, tissue mask and noise."""

from ferrosight.field.measure import measure_field

__all__ = ["measure_field"]
