"""Imported stamps are checked as the lens finder's are."""

from __future__ import annotations

from dataclasses import replace

from ..lensfinder.checks import CHECKS as LENS_CHECKS
from .schema import size_of

CHECKS = replace(LENS_CHECKS, size_of=size_of, notes=lambda dataset: (f"Imported from {dataset.table}.",))
