"""Imported stamps are checked as the lens finder's are."""

from __future__ import annotations

from dataclasses import replace

from ..lensfinder.checks import CHECKS as LENS_CHECKS

CHECKS = replace(LENS_CHECKS, notes=lambda dataset: (f"Imported from {dataset.table}.",))
