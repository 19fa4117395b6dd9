"""`burst doctor`: what is wrong, and what to type next."""

from __future__ import annotations

from orchestrator.doctor.examination import DoctorReport, examine

__all__ = ["DoctorReport", "examine"]
