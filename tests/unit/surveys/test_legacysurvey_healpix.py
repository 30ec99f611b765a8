"""HEALPix cells against published values and the properties that define them."""

import numpy as np
import pytest

from darkhaloscope.core.healpix import healpix


def ring_centres(nside):
    """Centres of all cells in ring order, from Górski et al. 2005 (equations 4 to 9)."""
    out = []
    for ring in range(1, 4 * nside):
        n = 4 * min(ring, nside, 4 * nside - ring)
        if ring < nside:
            z = 1 - ring**2 / (3 * nside**2)
        elif ring <= 3 * nside:
            z = 4 / 3 - 2 * ring / (3 * nside)
        else:
            z = -(1 - (4 * nside - ring) ** 2 / (3 * nside**2))
        shift = 0.5 if ring < nside or ring > 3 * nside or (ring - nside) % 2 == 0 else 0.0
        out += [(360 / n * (k + shift), np.degrees(np.arcsin(z))) for k in range(n)]
    return np.array(out).T


@pytest.mark.parametrize("nside", [1, 2, 4, 16, 64])
def test_every_cell_centre_has_a_cell_of_its_own(nside):
    cells = healpix(*ring_centres(nside), nside)
    assert np.array_equal(np.sort(cells), np.arange(12 * nside**2))


def test_nested_numbers_are_healpys():
    # healpy's documentation: ring2nest(16, 1504) is 1130; and for nside 2 the first ring-ordered cells are these nested ones.
    assert healpix(*ring_centres(16), 16)[1504] == 1130
    assert healpix(*ring_centres(2), 2)[:16].tolist() == [3, 7, 11, 15, 2, 1, 6, 5, 10, 9, 14, 13, 19, 0, 23, 4]


def test_cells_have_equal_areas():
    rng = np.random.default_rng(1)
    n = 120_000
    counts = np.bincount(healpix(rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n))), 2), minlength=48)
    # χ² with 47 degrees of freedom is below 90 in all but 1 of 6,000 cases.
    assert np.sum((counts - n / 48) ** 2 / (n / 48)) < 90


def test_a_cell_lies_in_its_parent():
    rng = np.random.default_rng(2)
    ra, dec = rng.uniform(0, 360, 5000), np.degrees(np.arcsin(rng.uniform(-1, 1, 5000)))
    assert np.array_equal(healpix(ra, dec, 256) // 4, healpix(ra, dec, 128))


def test_poles_and_the_seam_have_cells():
    cells = healpix([0, 359.9999999, 360, 0, 0], [90, 90, 45, -90, 0], 64)
    assert ((cells >= 0) & (cells < 12 * 64**2)).all()
    assert healpix([360.0], [45.0], 64) == healpix([0.0], [45.0], 64)
