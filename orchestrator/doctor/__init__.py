"""`burst doctor`: find problems, and the next command to fix them."""

from __future__ import annotations

from orchestrator.doctor.examination import DoctorReport, examine

__all__ = ["DoctorReport", "examine"]
