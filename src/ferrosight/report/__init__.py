"""Pages for people: one self-contained HTML page per scan. Knows types and units, never a stage."""

from __future__ import annotations

from ferrosight.report.page import render_visit_report, write_visit_report

__all__ = ["render_visit_report", "write_visit_report"]
