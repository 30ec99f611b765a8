"""What is in the mock sky: bricks with their observing conditions, and the objects on them.

Bricks lie on the survey's own grid (0.25 degrees, desiutil.brick), far apart, so that each is in a HEALPix
cell of its own at nside 64. Galaxies stand on a grid of sites within a brick, so that their stamps do not overlap:
far denser than the real sky.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from ..config.legacysurvey import ZERO_POINT, MockSky
from ..core.random import stream
from .survey_light import PIXEL_ARCSEC, Seeing, psfsize_of

#: DR10 has 10000 to 10999.
RELEASE = 30999
#: Extinction per E(B−V) of DECam's g, r, z and of W1.
EXTINCTION = {"g": 3.214, "r": 2.165, "z": 1.211, "w1": 0.184}
#: Classes of contaminants, with their shares among them.
CONTAMINANTS = {"spiral": 0.28, "ring": 0.14, "edge-on": 0.22, "merger": 0.2, "star-artefact": 0.16}
#: Shares of sites that hold a star or a galaxy too faint for the parent sample.
STARS, FAINT = 0.03, 0.04
#: Share of plain galaxies that have a companion.
WITH_COMPANION = 0.2
#: Pixels from one site to the next, and from the outermost ones to the edge.
PITCH, MARGIN = 71, 36
#: Faint galaxies in the field, per 1000 × 1000 pixels.
FIELD_DENSITY = 220
BRICK_SIDE_DEG = 0.25


@dataclass(frozen=True)
class BrickCell:
    """A brick of the survey's grid; angles in degrees."""

    row: int
    col: int
    brickid: int
    name: str
    ra: float
    dec: float
    ra1: float
    ra2: float
    dec1: float
    dec2: float


@dataclass(frozen=True)
class Conditions:
    """How a brick was observed."""

    ebv: float
    #: FWHM of the Moffat PSF per band [arcsec].
    fwhm: tuple[float, ...]
    #: 5 σ depth of a point source per band [mag], where all exposures overlap.
    depth: tuple[float, ...]
    nexp: tuple[int, ...]
    #: Pixels to the left of this have two thirds of the exposures.
    shallow_below: float

    @property
    def seeing(self) -> Seeing:
        """The PSF in pixels."""
        return Seeing(tuple(f / PIXEL_ARCSEC for f in self.fwhm))

    @property
    def psfsize(self) -> tuple[float, ...]:
        """The PSF sizes that the survey would give [arcsec]."""
        return tuple(psfsize_of(f) for f in self.fwhm)

    @property
    def psfdepth(self) -> tuple[float, ...]:
        """Inverse variances of a point source's flux [nanomaggy⁻²]."""
        return tuple((5 / 10 ** ((ZERO_POINT - d) / 2.5)) ** 2 for d in self.depth)

    @property
    def invvar(self) -> tuple[float, ...]:
        """Inverse variance of a pixel: that of a point source times its noise-equivalent area in pixels."""
        areas = (4 * math.pi * (size / 2.355 / PIXEL_ARCSEC) ** 2 for size in self.psfsize)
        return tuple(depth * area for depth, area in zip(self.psfdepth, areas, strict=True))

    def transmission(self, band: str) -> float:
        """Share of the light that the Galaxy lets through."""
        return 10 ** (-0.4 * EXTINCTION[band] * self.ebv)


@dataclass(frozen=True)
class Thing:
    """An object: position in pixels from 0, magnitudes before extinction, sizes in arcsec."""

    objid: int
    #: host, companion, field, faint, star, lens, or a class of contaminants.
    kind: str
    x: float
    y: float
    mags: dict[str, float]
    re: float
    n: float
    q: float
    phi: float
    tractor: str
    #: What only its kind has.
    more: dict[str, float] = field(default_factory=dict)


def brick_cell(ra: float, dec: float) -> BrickCell:
    """Return the brick of the survey's grid that holds a position."""
    row = math.floor((dec + 90 + BRICK_SIDE_DEG / 2) / BRICK_SIDE_DEG)
    n = _columns(row)
    width = 360 / n
    col = int(ra // width)
    centre_ra, centre_dec = (col + 0.5) * width, -90 + row * BRICK_SIDE_DEG
    name = f"{int(centre_ra * 10 + 1e-9):04d}{'m' if centre_dec < 0 else 'p'}{int(abs(centre_dec) * 10 + 1e-9):03d}"
    brickid = sum(_columns(k) for k in range(row)) + col + 1
    half = BRICK_SIDE_DEG / 2
    return BrickCell(row, col, brickid, name, centre_ra, centre_dec, col * width, (col + 1) * width, centre_dec - half, centre_dec + half)


def draw_bricks(n: int) -> list[BrickCell]:
    """Return `n` bricks of two sweep files: 42 far apart, seven to a row; further ones adjoin these."""
    cells = []
    for i in range(n):
        layer, place = divmod(i, 42)
        ra, dec = 150.7 + 1.45 * (place % 7) + 0.25 * (layer % 3), 0.4 + 0.8 * (place // 7) + (0, 0.25, -0.25)[layer // 3]
        cells.append(brick_cell(ra, dec))
    return cells


def draw_conditions(cell: BrickCell, size: int, seed: int) -> Conditions:
    """Draw how a brick was observed: seeing, depth and extinction as the southern survey has them."""
    rng = stream(seed, cell.brickid, "conditions")
    common = rng.normal(0, 0.09)
    fwhm = tuple(float(np.clip(m + common + rng.normal(0, 0.05), 0.75, 1.5)) for m in (1.16, 1.04, 0.98))
    depth = tuple(float(m + 0.5 * common + rng.normal(0, 0.12)) for m in (24.7, 24.1, 23.1))
    nexp = tuple(int(v) for v in rng.integers(3, 9, 3))
    shallow = float(size * rng.uniform(0.2, 0.5)) if rng.random() < 0.25 else 0.0
    return Conditions(float(rng.uniform(0.012, 0.075)), fwhm, depth, nexp, shallow)


def draw_things(cell: BrickCell, sky: MockSky, seed: int) -> list[Thing]:
    """Draw the objects of a brick: one at every site, companions, and faint galaxies of the field."""
    n = max(1, (sky.brick_size - 2 * MARGIN) // PITCH + 1)
    start = (sky.brick_size - 1 - (n - 1) * PITCH) / 2
    things: list[Thing] = []
    for site in range(n * n):
        rng = stream(seed, cell.brickid * 2**12 + site, "site")
        x, y = start + PITCH * (site % n) + rng.uniform(-1.5, 1.5), start + PITCH * (site // n) + rng.uniform(-1.5, 1.5)
        thing = _site(rng, site, float(x), float(y), sky)
        things.append(thing)
        if thing.kind == "host" and rng.random() < WITH_COMPANION:
            things[-1] = Thing(**{**vars(thing), "kind": "companion"})
            things.append(_beside(rng, n * n + site, thing))
    rng = stream(seed, cell.brickid, "field")
    for k in range(round(FIELD_DENSITY * (sky.brick_size / 1000) ** 2)):
        things.append(_field_galaxy(rng, 2 * n * n + k, sky.brick_size))
    return things


def _site(rng: Generator, objid: int, x: float, y: float, sky: MockSky) -> Thing:
    pick, kind = rng.random(), "host"
    for name, share in (("star", STARS), ("faint", FAINT), ("lens", sky.lens_fraction), ("contaminant", sky.contaminant_fraction)):
        if pick < share:
            kind = name
            break
        pick -= share
    if kind == "contaminant":
        kind = str(rng.choice(list(CONTAMINANTS), p=list(CONTAMINANTS.values())))
    if kind == "star":
        r = rng.uniform(17, 21)
        return Thing(objid, kind, x, y, _stellar(r, rng), 0.0, 1.0, 1.0, 0.0, "PSF")
    if kind == "faint":
        return _small(rng, objid, kind, x, y, rng.uniform(21.3, 22.5))
    if kind in ("spiral", "ring", "edge-on"):
        return _disk(rng, objid, kind, x, y)
    return _red_galaxy(rng, objid, kind, x, y)


def _red_galaxy(rng: Generator, objid: int, kind: str, x: float, y: float) -> Thing:
    """Draw a luminous red galaxy: colours of an old population at its redshift, de Vaucouleurs profile."""
    redshift = float(rng.uniform(0.2, 0.75))
    mag_z = float(20.75 - 2.6 * rng.random() ** 2.2 - (0.4 if kind == "lens" else 0.0))
    gr = float(np.clip(1.0 + 1.6 * (redshift - 0.15), 1.0, 1.75) + rng.normal(0, 0.06))
    rz = float(0.55 + 1.0 * (redshift - 0.2) + rng.normal(0, 0.05))
    mags = {"g": mag_z + rz + gr, "r": mag_z + rz, "z": mag_z, "w1": mag_z - (0.8 * rz - 0.6) - rng.uniform(0.15, 0.9)}
    re = float(np.clip(1.0 * 10 ** (-0.13 * (mag_z - 19.5) + rng.normal(0, 0.12)), 0.4, 3.0))
    more = {"redshift": redshift}
    if kind == "lens":
        more |= {
            "theta_e": float(np.clip(rng.normal(1.5, 0.45), 0.8, 2.8)),
            "source_mag_r": float(rng.uniform(22.0, 23.8)),
            "source_gr": float(rng.uniform(0.1, 0.5)),
            "source_rz": float(rng.uniform(0.1, 0.5)),
        }
    q, phi = float(rng.uniform(0.6, 0.97)), float(rng.uniform(0, math.pi))
    return Thing(objid, kind, x, y, mags, re, 4.0, q, phi, "DEV" if re > 0.6 else "REX", more)


def _disk(rng: Generator, objid: int, kind: str, x: float, y: float) -> Thing:
    """Draw a galaxy with a disk, bright enough in z and W1 to pass as a red one."""
    mag_z = float(20.3 - 2.3 * rng.random() ** 1.8)
    gr, rz = float(rng.uniform(0.6, 1.1)), float(rng.uniform(0.4, 0.8))
    mags = {"g": mag_z + rz + gr, "r": mag_z + rz, "z": mag_z, "w1": mag_z - (0.8 * rz - 0.6) - rng.uniform(0.15, 0.7)}
    q = {"edge-on": rng.uniform(0.09, 0.16), "ring": rng.uniform(0.6, 1.0), "spiral": rng.uniform(0.45, 0.95)}[kind]
    return Thing(objid, kind, x, y, mags, float(rng.uniform(1.2, 2.6)), 1.0, float(q), float(rng.uniform(0, math.pi)), "SER")


def _beside(rng: Generator, objid: int, host: Thing) -> Thing:
    """Draw a companion at 1.6 to 5 arcsec; its W1 is too faint for the parent sample."""
    distance, angle = rng.uniform(1.6, 5.0) / PIXEL_ARCSEC, rng.uniform(0, 2 * math.pi)
    x, y = host.x + distance * math.cos(angle), host.y + distance * math.sin(angle)
    return _small(rng, objid, "field", float(x), float(y), host.mags["z"] + rng.uniform(0.8, 2.2))


def _field_galaxy(rng: Generator, objid: int, size: int) -> Thing:
    x, y = rng.uniform(0, size - 1, 2)
    return _small(rng, objid, "field", float(x), float(y), float(24.3 - 2.6 * rng.random() ** 2))


def _small(rng: Generator, objid: int, kind: str, x: float, y: float, mag_z: float) -> Thing:
    gr, rz = float(rng.uniform(0.1, 1.2)), float(rng.uniform(0.1, 1.0))
    mags = {"g": mag_z + rz + gr, "r": mag_z + rz, "z": float(mag_z), "w1": mag_z - (0.8 * rz - 0.6) + rng.uniform(0.3, 1.0)}
    re, q, phi = float(rng.uniform(0.25, 0.7)), float(rng.uniform(0.3, 1.0)), float(rng.uniform(0, math.pi))
    return Thing(objid, kind, x, y, mags, re, 1.0, q, phi, "EXP")


def _stellar(r: float, rng: Generator) -> dict[str, float]:
    gr = float(rng.uniform(0.3, 1.3))
    return {"g": r + gr, "r": float(r), "z": r - 0.5 * gr, "w1": r - 0.5 * gr + 0.9}


def _columns(row: int) -> int:
    """Bricks in a row of the grid: an even number, as wide as they are high at the row's edge nearer to the equator."""
    if row in (0, 720):
        return 1
    edge = max(abs(-90 + row * BRICK_SIDE_DEG) - BRICK_SIDE_DEG / 2, 0)
    n = math.ceil(360 / BRICK_SIDE_DEG * math.cos(math.radians(edge)))
    return n + n % 2
