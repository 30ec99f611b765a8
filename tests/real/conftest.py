"""Tests against small real files that are not part of the project."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def real() -> Path:
    """Folder of real data: beside the project in shared/data/real, or $DARK_HALO_SCOPE_REAL_DATA."""
    folder = Path(os.environ.get("DARK_HALO_SCOPE_REAL_DATA", ROOT.parent / "shared" / "data" / "real"))
    if not folder.is_dir():
        pytest.skip(f"real data are not at {folder}; set DARK_HALO_SCOPE_REAL_DATA to their folder")
    return folder
