"""Studies: many trainings that can be compared, and their report."""

from __future__ import annotations

from lightning_energy.study.manifest import Manifest, StudyError
from lightning_energy.study.report import StudyReport, report
from lightning_energy.study.runner import run

__all__ = ["Manifest", "StudyError", "StudyReport", "report", "run"]
