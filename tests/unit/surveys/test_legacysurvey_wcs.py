"""The projection of bricks against its formula, whichever cards describe it."""

import math

import numpy as np
import pytest

from darkhaloscope.archive.projection import WcsError, read_projection

STEP = 0.262 / 3600
HEADER = {
    **{"NAXIS1": 3600, "NAXIS2": 3600, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 1800.5, "CRPIX2": 1800.5},
    **{"CD1_1": -STEP, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": STEP},
}


def gnomonic(ra, dec, ra0, dec0):
    """Pixels of a TAN image without rotation (Calabretta & Greisen 2002, A&A 395, 1077, section 5.1.3), written out."""
    a, d, d0 = np.radians(ra - ra0), np.radians(dec), np.radians(dec0)
    cosine = np.sin(d0) * np.sin(d) + np.cos(d0) * np.cos(d) * np.cos(a)
    xi = np.degrees(np.cos(d) * np.sin(a) / cosine)
    eta = np.degrees((np.cos(d0) * np.sin(d) - np.sin(d0) * np.cos(d) * np.cos(a)) / cosine)
    return -xi / STEP + 1799.5, eta / STEP + 1799.5


@pytest.mark.parametrize(("ra", "dec"), [(95.95, 80.5), (0.05, -0.25), (359.98, 31.0), (180.0, -89.0)])
def test_it_is_the_gnomonic_projection_and_back(ra, dec):
    projection = read_projection({**HEADER, "CRVAL1": ra, "CRVAL2": dec}, "x")
    x, y = np.random.default_rng(3).uniform(0, 3600, (2, 200))
    sky = projection.sky(x, y)
    # A millionth of a pixel is far below any other error, and rounding at the poles is below it.
    assert np.allclose(gnomonic(*sky, ra, dec), (x, y), atol=1e-6)
    assert np.allclose(projection.pixel(*sky), (x, y), atol=1e-6)


def test_pc_or_crota_and_cdelt_cards_say_the_same_as_cd():
    plain = {k: v for k, v in HEADER.items() if not k.startswith("CD")}
    steps = {"CDELT1": -STEP, "CDELT2": STEP}
    turned = {"PC1_1": 0.8, "PC1_2": -0.6, "PC2_1": 0.6, "PC2_2": 0.8}
    by_cd = {"CD1_1": -0.8 * STEP, "CD1_2": 0.6 * STEP, "CD2_1": 0.6 * STEP, "CD2_2": 0.8 * STEP}
    where = {"CRVAL1": 150.0, "CRVAL2": 2.0}
    # Paper II, section 6.1: CD1_2 = −CDELT2 sin ρ and CD2_1 = CDELT1 sin ρ.
    angle = {"CROTA2": -math.degrees(math.asin(0.6))}
    rotated = {**plain, **by_cd}
    for one, other in (({**plain, **steps}, HEADER), ({**plain, **steps, **turned}, rotated), ({**plain, **steps, **angle}, rotated)):
        ours, theirs = (read_projection({**header, **where}, "x") for header in (one, other))
        assert np.allclose(ours.pixel(150.01, 2.02), theirs.pixel(150.01, 2.02), atol=1e-6)
        assert ours.pixel_scale_arcsec == pytest.approx(0.262)


def test_the_far_half_of_the_sky_has_no_pixel():
    wcs = read_projection({**HEADER, "CRVAL1": 10.0, "CRVAL2": 0.0}, "x")
    assert np.isnan(wcs.pixel(190.0, 0.0)).all()


def test_a_compressed_image_counts_by_its_own_pixels():
    header = {**HEADER, "CRVAL1": 10.0, "CRVAL2": 0.0, "NAXIS1": 24, "NAXIS2": 1296, "ZNAXIS1": 3600, "ZNAXIS2": 3500}
    wcs = read_projection(header, "x")
    assert wcs.shape == (3500, 3600)
    assert wcs.pixel_scale_arcsec == pytest.approx(0.262)


def test_other_projections_and_missing_cards_are_named():
    with pytest.raises(WcsError, match=r"image\.fits.*RA---SIN"):
        read_projection({**HEADER, "CRVAL1": 0.0, "CRVAL2": 0.0, "CTYPE1": "RA---SIN"}, "image.fits")
    with pytest.raises(WcsError, match="CRVAL1"):
        read_projection(HEADER, "image.fits")
