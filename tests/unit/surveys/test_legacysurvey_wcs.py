"""The projection of bricks against astropy's."""

import numpy as np
import pytest
from astropy.wcs import WCS

from darkhaloscope.surveys.wcs import WcsError, read_wcs

STEP = 0.262 / 3600
HEADER = {
    **{"NAXIS1": 3600, "NAXIS2": 3600, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 1800.5, "CRPIX2": 1800.5},
    **{"CD1_1": -STEP, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": STEP},
}


@pytest.mark.parametrize(("ra", "dec"), [(95.95, 80.5), (0.05, -0.25), (359.98, 31.0), (180.0, -89.0)])
def test_it_is_astropys_projection(ra, dec):
    header = {**HEADER, "CRVAL1": ra, "CRVAL2": dec}
    ours, theirs = read_wcs(header, "x"), WCS(header)
    rng = np.random.default_rng(3)
    x, y = rng.uniform(0, 3600, (2, 200))
    sky = theirs.wcs_pix2world(x, y, 0)
    # A millionth of a pixel is far below any other error, and rounding at the poles is below it.
    assert np.allclose(ours.pixel(*sky), (x, y), atol=1e-6)
    there = ours.sky(x, y)
    assert np.allclose(there[1], sky[1], atol=1e-11)
    assert np.allclose((there[0] - sky[0] + 180) % 360 - 180, 0, atol=1e-8)


def test_the_far_half_of_the_sky_has_no_pixel():
    wcs = read_wcs({**HEADER, "CRVAL1": 10.0, "CRVAL2": 0.0}, "x")
    assert np.isnan(wcs.pixel(190.0, 0.0)).all()


def test_a_compressed_image_counts_by_its_own_pixels():
    header = {**HEADER, "CRVAL1": 10.0, "CRVAL2": 0.0, "NAXIS1": 24, "NAXIS2": 1296, "ZNAXIS1": 3600, "ZNAXIS2": 3500}
    wcs = read_wcs(header, "x")
    assert wcs.shape == (3500, 3600)
    assert wcs.pixel_scale_arcsec == pytest.approx(0.262)


def test_other_projections_and_missing_cards_are_named():
    with pytest.raises(WcsError, match=r"image\.fits.*RA---SIN"):
        read_wcs({**HEADER, "CRVAL1": 0.0, "CRVAL2": 0.0, "CTYPE1": "RA---SIN"}, "image.fits")
    with pytest.raises(WcsError, match="CRVAL1"):
        read_wcs(HEADER, "image.fits")
