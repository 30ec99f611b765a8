"""The checks of downloads on real files of four archives."""

import hashlib
import re

import pytest

from darkhaloscope.archive.addresses import manga_maps_url
from darkhaloscope.archive.checks import MissingExtension, check_fits
from darkhaloscope.archive.download import fetch
from darkhaloscope.config.manga import Downloads, Galaxies, Sample


def test_the_real_maps_file_is_found_fetched_and_whole(real, tmp_path):
    sample = Sample(
        base=f"file://{real}/sas/dr15/manga/spectro",
        drp_version="v2_4_3",
        dap_version="2.2.3dev",
        daptype="HYB10-GAU-MILESHC",
        catalogs=False,
        galaxies=Galaxies(listed=("7815-3702",)),
    )
    needed = ["EMLINE_GFLUX", "EMLINE_GVEL", "EMLINE_GSIGMA", "EMLINE_INSTSIGMA", "SPX_ELLCOO", "BINID"]
    done = fetch(manga_maps_url(sample, "7815-3702"), tmp_path / "maps.fits.gz", Downloads(), check=lambda path: check_fits(path, needed))
    entry = re.search(rf"{re.escape('7815-3702-MAPS')}.*?sha256 ([0-9a-f]{{64}})", (real / "INDEX.md").read_text(), re.DOTALL)
    assert entry is not None and done.sha256 == entry[1] == hashlib.sha256(done.path.read_bytes()).hexdigest()


def test_every_real_fits_file_is_whole(real):
    files = [path for path in sorted(real.rglob("*")) if path.name.endswith((".fits", ".fits.gz", ".fits.fz"))]
    assert files
    for path in files:
        assert check_fits(path)[0]


def test_a_real_file_without_the_needed_extension_is_named(real):
    with pytest.raises(MissingExtension, match="no extension EMLINE_GFLUX"):
        check_fits(next((real / "legacysurvey").glob("*image-g.fits.fz")), ["EMLINE_GFLUX"])
