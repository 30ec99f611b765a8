"""Galaxies of the mock sky as a population: redshifts, luminosities, colours, sizes and profiles from published relations.

- Colours and K corrections: the E, Sbc, Scd and Im templates of Coleman, Wu & Weedman (1980, ApJS 43, 393), redshifted, through
  LSST's g, r and z, as GalSim ships both (a test computes the table anew). DECam's bands differ by some hundredths.
- Luminosities of red galaxies: normal in absolute magnitude about M_r = −22.9 with 0.55 mag, as luminous red galaxies have them
  (Eisenstein et al. 2001, AJ 122, 2267: a magnitude-limited sample of M_r < −21.5), brighter by 0.8 mag per unit of redshift:
  stars that only age (Cool et al. 2008, ApJ 682, 919, find the like). Disks: about −21.6.
- Sizes: half-light radius against stellar mass (van der Wel et al. 2014, ApJ 788, 28, table 1), stars of 2.8 solar masses per
  solar luminosity in r for early types and 1.8 for late ones.
- Sérsic indices of early types between 3 and 6, about 4.5 for the most massive (Caon, Capaccioli & D'Onofrio 1993, MNRAS 265, 1013).
- The constants of luminosity, size and index were written from memory: hold them against these papers before a figure rests on them.
- Shares of red galaxies with neighbours, and of groups, are assumptions: one in eight is the first of a group.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from astropy.cosmology import FlatLambdaCDM
from numpy.random import Generator
from numpy.typing import NDArray

#: Redshifts of the tables, and for each template g − r, r − z and the K correction in r [mag].
REDSHIFTS = np.round(np.arange(11) * 0.1, 1)
TEMPLATES = {
    "E": (
        (0.73, 0.91, 1.22, 1.51, 1.73, 1.62, 1.56, 1.63, 1.88, 2.13, 2.27),
        (0.61, 0.66, 0.76, 0.89, 1.04, 1.35, 1.65, 1.90, 2.08, 2.16, 2.15),
        (0.00, 0.13, 0.26, 0.45, 0.68, 1.06, 1.48, 1.84, 2.10, 2.32, 2.58),
    ),
    "Sbc": (
        (0.46, 0.54, 0.72, 0.92, 1.15, 1.27, 1.27, 1.18, 1.02, 0.86, 0.72),
        (0.60, 0.59, 0.57, 0.59, 0.63, 0.77, 0.94, 1.14, 1.38, 1.55, 1.65),
        (0.00, 0.06, 0.10, 0.18, 0.27, 0.44, 0.65, 0.90, 1.16, 1.39, 1.58),
    ),
    "Scd": (
        (0.35, 0.43, 0.62, 0.79, 0.94, 0.99, 0.91, 0.81, 0.69, 0.57, 0.49),
        (0.34, 0.37, 0.38, 0.42, 0.50, 0.62, 0.78, 0.98, 1.16, 1.23, 1.24),
        (0.00, 0.01, 0.02, 0.05, 0.13, 0.26, 0.44, 0.63, 0.81, 0.95, 1.03),
    ),
    "Im": (
        (0.17, 0.21, 0.40, 0.54, 0.62, 0.69, 0.62, 0.50, 0.37, 0.22, 0.17),
        (0.40, 0.35, 0.27, 0.23, 0.28, 0.32, 0.42, 0.68, 0.82, 0.83, 0.83),
        (0.00, -0.03, -0.10, -0.14, -0.09, -0.05, 0.04, 0.15, 0.26, 0.38, 0.39),
    ),
}
#: r − i of the same templates at the same redshifts [mag].
RED_COLOURS_I = {
    "E": (0.35, 0.42, 0.49, 0.58, 0.68, 0.96, 1.23, 1.38, 1.30, 1.14, 1.08),
    "Sbc": (0.34, 0.33, 0.32, 0.35, 0.40, 0.52, 0.68, 0.85, 0.98, 1.03, 1.02),
    "Scd": (0.21, 0.22, 0.23, 0.26, 0.32, 0.45, 0.61, 0.71, 0.78, 0.79, 0.71),
    "Im": (0.22, 0.18, 0.11, 0.08, 0.20, 0.31, 0.42, 0.44, 0.52, 0.61, 0.52),
}
#: r − i over r − z, where only the latter is drawn: of the templates to redshift 0.4, and of dust.
I_SHARE = 0.6
#: Mean absolute magnitude in r and its scatter, and how much brighter per unit of redshift.
RED, DISK, AGEING = (-22.9, 0.55), (-21.6, 0.6), 0.8
SUN_R = 4.65
#: log10 of the half-light radius [kpc] at 5·10¹⁰ M☉ and redshift 0.25, its change per unit of redshift, and the slope with mass.
EARLY_SIZE, LATE_SIZE = (0.60, -0.36, 0.73), (0.86, -0.16, 0.25)
EARLY_LIGHT, LATE_LIGHT = 2.8, 1.8
#: Magnitudes in z between which a mock galaxy is drawn, and the faintest in r: inside the parent sample's cuts.
BRIGHT_Z, FAINT_Z, FAINT_R = 17.1, 20.8, 22.8
INDICES, INDEX_SHARES = (3.0, 4.0, 5.0, 6.0), (0.2, 0.45, 0.25, 0.1)
#: Tries for a galaxy inside those bounds.
TRIES = 200


def colours(template: str, redshift: float) -> tuple[float, float]:
    """Return the observed g − r and r − z of a template [mag]."""
    gr, rz, _ = TEMPLATES[template]
    return float(np.interp(redshift, REDSHIFTS, gr)), float(np.interp(redshift, REDSHIFTS, rz))


def colour_i(template: str, redshift: float) -> float:
    """Return the observed r − i of a template [mag]."""
    return float(np.interp(redshift, REDSHIFTS, RED_COLOURS_I[template]))


def mixed_i(first: float, second: float, share: float) -> float:
    """Return r − i of two lights together, the second being `share` of the whole in r."""
    return 2.5 * math.log10((1 - share) * 10 ** (0.4 * first) + share * 10 ** (0.4 * second))


def mixed(first: tuple[float, float], second: tuple[float, float], share: float) -> tuple[float, float]:
    """Return the colours of two lights together, the second being `share` of the whole in r."""
    gr, rz = (
        sign * -2.5 * math.log10((1 - share) * 10 ** (-0.4 * sign * a) + share * 10 ** (-0.4 * sign * b))
        for sign, a, b in ((1, first[0], second[0]), (-1, first[1], second[1]))
    )
    return gr, rz


def apparent_r(absolute: float, redshift: float, template: str) -> float:
    """Return the apparent magnitude in r of a galaxy of an absolute one, ageing included."""
    k = float(np.interp(redshift, REDSHIFTS, TEMPLATES[template][2]))
    modulus, _ = _distances()
    return absolute + float(np.interp(redshift, *modulus)) + k - AGEING * redshift


def half_light_radius(absolute: float, redshift: float, early: bool, rng: Generator) -> float:
    """Return a half-light radius [arcsec], scattered by 0.12 dex about the relation of mass and size."""
    at, change, slope = EARLY_SIZE if early else LATE_SIZE
    mass = 0.4 * (SUN_R - absolute) + math.log10(EARLY_LIGHT if early else LATE_LIGHT)
    kpc = 10 ** (at + change * (redshift - 0.25) + slope * (mass - math.log10(5e10)) + rng.normal(0, 0.12))
    _, scale = _distances()
    return float(np.clip(kpc / np.interp(redshift, *scale), 0.3, 4.0))


def draw_red(rng: Generator, brighter: float = 0.0) -> dict[str, float]:
    """Draw a luminous red galaxy: redshift, absolute magnitude, mags in g, r, i and z, half-light radius, Sérsic index, axis ratio.

    One in ten still forms a few stars. `brighter` shifts the mean luminosity [mag].
    """
    for _ in range(TRIES):
        redshift = float(0.12 + 0.7 * rng.beta(1.8, 2.3))
        absolute = float(rng.normal(RED[0] - brighter, RED[1]))
        r = apparent_r(absolute, redshift, "E")
        share = float(rng.uniform(0.05, 0.3)) if rng.random() < 0.1 else 0.0
        gr, rz = mixed(colours("E", redshift), colours("Sbc", redshift), share)
        gr, scatter = gr + float(rng.normal(0, 0.05)), float(rng.normal(0, 0.04))
        rz = rz + scatter
        if BRIGHT_Z < r - rz < FAINT_Z and r < FAINT_R:
            break
    q = float(np.clip(rng.normal(0.78, 0.13), 0.4, 0.98))
    # The relation is one of long axes; the mock's radius is that of the circle of the same area.
    re = half_light_radius(absolute, redshift, True, rng) * math.sqrt(q)
    n = float(rng.choice(INDICES, p=INDEX_SHARES))
    ri = mixed_i(colour_i("E", redshift), colour_i("Sbc", redshift), share) + I_SHARE * scatter
    return {"redshift": redshift, "absolute": absolute, "g": r + gr, "r": r, "i": r - ri, "z": r - rz, "re": re, "n": n, "q": q}


def draw_disk(rng: Generator) -> dict[str, float]:
    """Draw a galaxy with a disk: an old bulge and a disk between Sbc and Im, as mags of the whole, share and colours of the bulge.

    `bulge_gr` and `bulge_rz` say how much redder the bulge is than the whole.
    """
    for _ in range(TRIES):
        redshift = float(0.05 + 0.6 * rng.beta(2.0, 2.0))
        absolute = float(rng.normal(*DISK))
        r = apparent_r(absolute, redshift, "Sbc")
        bulge = float(np.clip(rng.normal(0.22, 0.15), 0.02, 0.65))
        pair = ("Sbc", "Scd") if rng.random() < 0.5 else ("Scd", "Im")
        later = float(rng.random())
        disk = mixed(colours(pair[0], redshift), colours(pair[1], redshift), later)
        red = float(rng.uniform(0, 0.12))  # dust
        disk = disk[0] + red, disk[1] + red
        old = colours("E", redshift)
        gr, rz = mixed(disk, old, bulge)
        if BRIGHT_Z < r - rz < FAINT_Z and r < FAINT_R:
            break
    re = half_light_radius(absolute, redshift, False, rng)
    ri = mixed_i(colour_i(pair[0], redshift), colour_i(pair[1], redshift), later) + I_SHARE * red
    ri = mixed_i(ri, colour_i("E", redshift), bulge)
    return {
        **{"redshift": redshift, "absolute": absolute, "g": r + gr, "r": r, "i": r - ri, "z": r - rz, "re": re},
        **{"bulge": bulge, "bulge_gr": old[0] - gr, "bulge_rz": old[1] - rz},
    }


@functools.cache
def _distances() -> tuple[tuple[NDArray, NDArray], tuple[NDArray, NDArray]]:
    """Tables of distance modulus [mag] and kpc per arcsec over redshift, in a flat universe with H₀ = 70 km/s/Mpc and Ωm = 0.3."""
    z = np.linspace(0.02, 1.0, 200)
    flat = FlatLambdaCDM(70, 0.3)
    return (z, flat.distmod(z).value), (z, flat.kpc_proper_per_arcmin(z).value / 60)
