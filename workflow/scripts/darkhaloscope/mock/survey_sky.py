"""What is in the mock sky: bricks with their observing conditions, and the objects on them.

Bricks lie on the survey's own grid (0.25 degrees, desiutil.brick), far apart, so that each is in a HEALPix
cell of its own at nside 64. Galaxies stand on a grid of sites within a brick, so that their stamps do not overlap:
far denser than the real sky.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.random import Generator

from ..config.legacysurvey import BANDS, ZERO_POINT, MockSky
from ..core.random import stream
from .survey_light import PIXEL_ARCSEC, Seeing, psfsize_of
from .survey_population import I_SHARE, draw_disk, draw_red

#: DR10 has 10000 to 10999.
RELEASE = 30999
#: Extinction per E(B−V) of DECam's bands and of W1.
EXTINCTION = {"g": 3.214, "r": 2.165, "i": 1.592, "z": 1.211, "w1": 0.184}
#: Classes of contaminants, with their shares among them.
CONTAMINANTS = {"spiral": 0.36, "ring": 0.12, "edge-on": 0.2, "merger": 0.16, "star-artefact": 0.16}
#: Shares of sites that hold a star or a galaxy too faint for the parent sample.
STARS, FAINT = 0.03, 0.04
#: Shares of red galaxies that are the first of a group, and that have one companion.
GROUPS, WITH_COMPANION = 0.12, 0.2
#: Pixels from one site to the next, and from the outermost ones to the edge.
PITCH, MARGIN = 71, 36
#: Faint galaxies in the field, per 1000 × 1000 pixels.
FIELD_DENSITY = 320
#: FWHM of the Moffat PSF [arcsec] and 5 σ depth of a point source [mag] in g, r, z: DECaLS (Dey et al. 2019, AJ 157, 168), DES
#: (Abbott et al. 2021, ApJS 255, 20), and CFHTLS Wide (Erben et al. 2013, MNRAS 433, 2545, from apertures of 2″ to point sources).
IMAGING = {
    "wide": ((1.16, 1.04, 0.98), (24.7, 24.1, 23.1)),
    "des": ((1.02, 0.88, 0.82), (25.2, 24.9, 23.8)),
    "cfhtls": ((0.82, 0.72, 0.7), (25.8, 25.2, 23.8)),
}
#: The same in i, for surveys in which it stands in for z.
IMAGING_I = {"wide": (1.0, 23.6), "des": (0.85, 24.4), "cfhtls": (0.7, 25.0)}
WIDE_ALONE = {"wide": 1.0}
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


def draw_conditions(
    cell: BrickCell, size: int, seed: int, imaging: Mapping[str, float] = WIDE_ALONE, bands: Sequence[str] = BANDS
) -> Conditions:
    """Draw how a brick was observed: seeing, depth and extinction.

    Parameters
    ----------
    size : pixels on a side
    imaging : shares of bricks that are as those of each survey of `IMAGING`
    bands : what is observed in the places of g, r and z
    """
    rng = stream(seed, cell.brickid, "conditions")
    common = rng.normal(0, 0.09)
    which = np.searchsorted(np.cumsum(list(imaging.values())), rng.random())
    name = list(imaging)[min(int(which), len(imaging) - 1)]
    seeing, depths = IMAGING[name]
    if bands[2] == "i":
        (*seeing, _), (*depths, _) = IMAGING[name]
        seeing, depths = [*seeing, IMAGING_I[name][0]], [*depths, IMAGING_I[name][1]]
    fwhm = tuple(float(np.clip(m + common + rng.normal(0, 0.05), 0.55, 1.5)) for m in seeing)
    depth = tuple(float(m + 0.5 * common + rng.normal(0, 0.12)) for m in depths)
    nexp = tuple(int(v) for v in rng.integers(3, 9, 3))
    shallow = float(size * rng.uniform(0.2, 0.5)) if rng.random() < 0.25 else 0.0
    return Conditions(float(rng.uniform(0.012, 0.075)), fwhm, depth, nexp, shallow)


def seen_in(things: Sequence[Thing], bands: Sequence[str], ebv: float) -> list[Thing]:
    """Return the objects as bands see them: where i is in the place of z, its light stands under that name.

    Parts of an object that are bluer or redder than the whole are so in i by the share of r − z that the whole's r − i is; extinction
    is that of i.
    """
    if bands[2] != "i":
        return list(things)
    dimmer = (EXTINCTION["i"] - EXTINCTION["z"]) * ebv
    out = []
    for thing in things:
        rz = thing.mags["r"] - thing.mags["z"]
        share = min(max((thing.mags["r"] - thing.mags["i"]) / rz, 0.3), 1.0) if rz > 0 else I_SHARE
        more = {**thing.more, "third": share}
        if "source_rz" in more:
            more["source_rz"] *= I_SHARE
        out.append(replace(thing, mags={**thing.mags, "z": thing.mags["i"] + dimmer}, more=more))
    return out


def draw_things(cell: BrickCell, sky: MockSky, seed: int) -> list[Thing]:
    """Draw the objects of a brick: one at every site, neighbours and groups around red galaxies, and faint galaxies of the field."""
    n = max(1, (sky.brick_size - 2 * MARGIN) // PITCH + 1)
    start = (sky.brick_size - 1 - (n - 1) * PITCH) / 2
    things: list[Thing] = []
    beside = n * n
    for site in range(n * n):
        rng = stream(seed, cell.brickid * 2**12 + site, "site")
        x, y = start + PITCH * (site % n) + rng.uniform(-1.5, 1.5), start + PITCH * (site // n) + rng.uniform(-1.5, 1.5)
        thing = _site(rng, site, float(x), float(y), sky)
        around = _neighbours(rng, beside, thing) if thing.kind in ("host", "lens") else []
        beside += len(around)
        things.append(Thing(**{**vars(thing), "kind": "companion"}) if around and thing.kind == "host" else thing)
        things += around
    rng = stream(seed, cell.brickid, "field")
    for k in range(round(FIELD_DENSITY * (sky.brick_size / 1000) ** 2)):
        things.append(_field_galaxy(rng, beside + k, sky.brick_size))
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
    if kind in ("spiral", "edge-on"):
        return _disk(rng, objid, kind, x, y)
    return _red_galaxy(rng, objid, kind, x, y)


def _red_galaxy(rng: Generator, objid: int, kind: str, x: float, y: float) -> Thing:
    """Draw a luminous red galaxy; what forms a ring or merges is one as well, and lenses are brighter."""
    drawn = draw_red(rng, brighter=0.3 if kind == "lens" else 0.0)
    more = {"redshift": drawn["redshift"]}
    if kind == "lens":
        # A lognormal about 1.3 arcsec, cut at the 5 arcsec of groups.
        more |= {
            "theta_e": float(np.clip(1.3 * 10 ** rng.normal(0, 0.18), 0.8, 5.0)),
            "source_mag_r": float(rng.uniform(22.3, 24.3)),
            "source_gr": float(rng.uniform(0.1, 0.5)),
            "source_rz": float(rng.uniform(0.1, 0.5)),
        }
    tractor = "SER" if kind == "ring" or drawn["n"] != 4 else "DEV"
    return Thing(
        objid, kind, x, y, _with_w1(drawn, rng, 0.9), drawn["re"], drawn["n"], drawn["q"], float(rng.uniform(0, math.pi)),
        tractor if drawn["re"] > 0.6 else "REX", more,
    )  # fmt: skip


def _disk(rng: Generator, objid: int, kind: str, x: float, y: float) -> Thing:
    """Draw a galaxy with a disk, bright enough in z and W1 to pass as a red one."""
    drawn = draw_disk(rng)
    q = {"edge-on": rng.uniform(0.09, 0.18), "spiral": rng.uniform(0.4, 0.97)}[kind]
    more = {k: drawn[k] for k in ("redshift", "bulge", "bulge_gr", "bulge_rz")}
    return Thing(objid, kind, x, y, _with_w1(drawn, rng, 0.7), drawn["re"], 1.0, float(q), float(rng.uniform(0, math.pi)), "SER", more)


def _with_w1(drawn: dict[str, float], rng: Generator, most: float) -> dict[str, float]:
    """Return magnitudes with a W1 by which the galaxy passes the parent sample's cut."""
    rz = drawn["r"] - drawn["z"]
    return {**{b: drawn[b] for b in "griz"}, "w1": drawn["z"] - (0.8 * rz - 0.6) - float(rng.uniform(0.15, most))}


def _neighbours(rng: Generator, objid: int, host: Thing) -> list[Thing]:
    """Draw what stands near a red galaxy: a group of its own redshift around one in eight, one galaxy beside one in five."""
    pick = rng.random()
    if pick < GROUPS:
        count, far, near = 2 + int(rng.poisson(2.5)), 9.0, 1.8
    elif pick < GROUPS + WITH_COMPANION:
        count, far, near = 1, 5.0, 1.6
    else:
        return []
    return [_beside(rng, objid + k, host, near, far, red=pick < GROUPS or rng.random() < 0.4) for k in range(count)]


def _beside(rng: Generator, objid: int, host: Thing, near: float, far: float, red: bool) -> Thing:
    """Draw a neighbour at some distance [arcsec], of the host's colours or of any; its W1 is too faint for the parent sample."""
    distance, angle = rng.uniform(near, far) / PIXEL_ARCSEC, rng.uniform(0, 2 * math.pi)
    x, y = host.x + distance * math.cos(angle), host.y + distance * math.sin(angle)
    thing = _small(rng, objid, "field", float(x), float(y), host.mags["z"] + rng.uniform(0.8, 3.5))
    if not red:
        return thing
    mag_z, gr, rz = thing.mags["z"], host.mags["g"] - host.mags["r"] - 0.05, host.mags["r"] - host.mags["z"] - 0.03
    mags = {"g": mag_z + rz + gr, "r": mag_z + rz, "z": mag_z, "w1": mag_z - (0.8 * rz - 0.6) + rng.uniform(0.3, 1.0)}
    mags["i"] = mags["r"] - (host.mags["r"] - host.mags["i"]) + 0.03 * I_SHARE
    return Thing(**{**vars(thing), "mags": mags, "n": 2.5, "tractor": "SER"})


def _field_galaxy(rng: Generator, objid: int, size: int) -> Thing:
    """Draw a galaxy of the field: counts rise by 0.35 dex per magnitude in z."""
    x, y = rng.uniform(0, size - 1, 2)
    mag_z = max(24.4 + math.log10(max(rng.random(), 1e-3)) / 0.35, 18.5)
    return _small(rng, objid, "field", float(x), float(y), float(mag_z))


def _small(rng: Generator, objid: int, kind: str, x: float, y: float, mag_z: float) -> Thing:
    gr, rz = float(rng.uniform(0.1, 1.2)), float(rng.uniform(0.1, 1.0))
    mags = {"g": mag_z + rz + gr, "r": mag_z + rz, "z": float(mag_z), "w1": mag_z - (0.8 * rz - 0.6) + rng.uniform(0.3, 1.0)}
    mags["i"] = mags["r"] - I_SHARE * rz
    re, q, phi = float(rng.uniform(0.25, 0.7)), float(rng.uniform(0.3, 1.0)), float(rng.uniform(0, math.pi))
    return Thing(objid, kind, x, y, mags, re, 1.0, q, phi, "EXP")


def _stellar(r: float, rng: Generator) -> dict[str, float]:
    gr = float(rng.uniform(0.3, 1.3))
    return {"g": r + gr, "r": float(r), "i": r - I_SHARE * 0.5 * gr, "z": r - 0.5 * gr, "w1": r - 0.5 * gr + 0.9}


def _columns(row: int) -> int:
    """Bricks in a row of the grid: an even number, as wide as they are high at the row's edge nearer to the equator."""
    if row in (0, 720):
        return 1
    edge = max(abs(-90 + row * BRICK_SIDE_DEG) - BRICK_SIDE_DEG / 2, 0)
    n = math.ceil(360 / BRICK_SIDE_DEG * math.cos(math.radians(edge)))
    return n + n % 2
