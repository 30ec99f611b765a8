"""Bricks of the mock sky: pixels with noise, masks and blemishes, written as the survey's pipeline writes coadds."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import fitsio
import numpy as np
from numpy.typing import NDArray

from ..archive.addresses import coadd_url
from ..archive.fits_files import plain_folder
from ..config.legacysurvey import BANDS, ZERO_POINT
from ..core.files import whole
from ..core.random import stream
from .survey_light import PIXEL_ARCSEC, Canvas, add_galaxy, arcs, blob, sersic
from .survey_sky import BrickCell, Conditions, Thing

#: Electrons per nanomaggy: what an object's light adds to the noise.
GAIN = 150.0
#: Bits of MASKBITS: per band SATUR and ALLMASK, MEDIUM stars. Where i is in the place of z, it has z's bits.
SATUR = {"g": 2, "r": 3, "z": 4}
ALLMASK = {"g": 5, "r": 6, "z": 7}
MEDIUM = 11
#: Pixels above this are saturated [nanomaggy].
FULL_WELL = 8.0
#: About one galaxy in so many has pixels without a number.
NAN_EVERY = 900
TILE = (100, 100)
#: Half of the window that a bright star's light is drawn in [pixels].
STAR_REACH = 92
MOCK_NOTE = "Simulated data: not an observation"


@dataclass
class Sky:
    """The pixels of a brick: (bands, ny, nx) each, maskbits (ny, nx)."""

    image: NDArray[np.float32]
    invvar: NDArray[np.float32]
    nexp: NDArray[np.int16]
    maskbits: NDArray[np.int32]


def draw_sky(cell: BrickCell, conditions: Conditions, things: Sequence[Thing], size: int, seed: int) -> Sky:
    """Draw a brick: objects, noise, masks.

    The noise of a pixel is that of `invvar` plus the Poisson noise of the objects' light at `GAIN`; it is
    drawn independently in every pixel (in real coadds neighbours are correlated a little).
    """
    light = np.zeros((len(BANDS), size, size), np.float32)
    maskbits = np.zeros((size, size), np.int32)
    seeing = conditions.seeing
    for thing in things:
        fluxes = np.array([10 ** ((ZERO_POINT - thing.mags[b]) / 2.5) * conditions.transmission(b) for b in BANDS])
        rng = stream(seed, cell.brickid * 2**12 + thing.objid, "shape")
        draw = _SHAPES.get(thing.kind)
        if draw is None:
            add_galaxy(light, seeing, thing.x, thing.y, fluxes, thing.re / PIXEL_ARCSEC, thing.n, thing.q, thing.phi)
        elif thing.kind == "star-artefact":
            _beside_a_star(light, maskbits, seeing, thing, fluxes, rng)
        else:
            canvas = Canvas(thing.x, thing.y, len(BANDS))
            if thing.kind == "lens":
                add_galaxy(light, seeing, thing.x, thing.y, fluxes, thing.re / PIXEL_ARCSEC, thing.n, thing.q, thing.phi)
            draw(canvas, thing, fluxes, rng)
            canvas.put(light, seeing)
    rng = stream(seed, cell.brickid, "noise")
    invvar, nexp = _exposures(conditions, size)
    noise = rng.standard_normal(light.shape, np.float32) * np.sqrt(1 / invvar + np.maximum(light, 0) / np.float32(GAIN))
    sky = Sky(light + noise, invvar, nexp, maskbits)
    _blemish(sky, cell, things, seed)
    return sky


def write_coadds(folder: Path, base: str, cell: BrickCell, conditions: Conditions, sky: Sky, bands: Sequence[str] = BANDS) -> list[Path]:
    """Write the coadds of a brick below `folder`, which stands for the archive's base address; return their paths."""
    written = []
    psfsize = np.array(conditions.psfsize, np.float32)[:, None, None] * np.ones_like(sky.image[0])
    for i, band in enumerate(bands):
        for product, pixels, unit in (
            ("image", sky.image[i], "nanomaggy"),
            ("invvar", sky.invvar[i], "1/nanomaggy^2"),
            ("psfsize", np.where(sky.nexp[i] > 0, psfsize[i], 0).astype(np.float32), "arcsec"),
            ("nexp", sky.nexp[i], ""),
        ):
            path = folder / coadd_url(base, cell.name, product, band).removeprefix(base)
            cards = [("IMTYPE", product), ("FILTER", band), ("MAGZERO", ZERO_POINT), *([("BUNIT", unit)] if unit else [])]
            _write(path, [("COMPRESSED_IMAGE", pixels)], _header(cell, sky.image.shape[1], cards), cell.brickid)
            written.append(path)
    path = folder / coadd_url(base, cell.name, "maskbits").removeprefix(base)
    wise = np.zeros(sky.maskbits.shape, np.uint8)
    planes = [("MASKBITS", sky.maskbits), ("WISEM1", wise), ("WISEM2", wise)]
    _write(path, planes, _header(cell, sky.image.shape[1], [("IMTYPE", "maskbits")]), cell.brickid)
    return [*written, path]


def _spiral(canvas: Canvas, thing: Thing, fluxes: NDArray, rng: np.random.Generator) -> None:
    """Draw an old bulge, a disk, and arms of young stars."""
    u, v, r = canvas.rotated(0, 0, thing.phi, thing.q)
    scale = thing.re / 1.678
    angle = np.arctan2(v / math.sqrt(thing.q), u * math.sqrt(thing.q))
    pitch, turn, arms = math.tan(rng.uniform(0.2, 0.45)), rng.choice([-1.0, 1.0]), rng.choice([2, 2, 2, 3])
    wave = np.cos(arms * (angle - turn * np.log(np.maximum(r, 0.2) / scale) / pitch))
    grown = np.clip(r / scale - 0.6, 0, 1)
    disk = np.exp(-r / scale)
    bulge, arm = thing.more["bulge"], rng.uniform(0.15, 0.45)
    bluer = rng.uniform(0.15, 0.5)
    blue = _share(thing, fluxes, arm * (1 - bulge), bluer, bluer)
    red = _share(thing, fluxes, bulge, -thing.more["bulge_gr"], -thing.more["bulge_rz"])
    canvas.add(sersic(r, 0.2 * thing.re, rng.choice([1.5, 2.5, 4.0])), red)
    arms_light = disk * grown * np.exp(rng.uniform(1.0, 3.0) * (wave - 1))
    knots = _knots(canvas, arms_light, rng)
    lumpy = rng.uniform(0.0, 0.6)
    canvas.add(arms_light / arms_light.sum() * (1 - lumpy) + knots / knots.sum() * lumpy, blue)
    canvas.add(disk, np.maximum(fluxes - red - blue, 0.05 * fluxes))


def _knots(canvas: Canvas, light: NDArray, rng: np.random.Generator) -> NDArray:
    """Return star-forming regions that lie where some light is, some brighter than others."""
    chosen = rng.choice(light.size, int(rng.integers(4, 20)), p=(light / light.sum()).ravel())
    out = np.zeros_like(light)
    for place, share, sigma in zip(chosen, rng.exponential(1.0, len(chosen)), rng.uniform(0.1, 0.35, len(chosen)), strict=True):
        out += share / sigma**2 * blob(canvas, canvas.x.flat[place], canvas.y.flat[place], sigma)
    return out


def _ring(canvas: Canvas, thing: Thing, fluxes: NDArray, rng: np.random.Generator) -> None:
    """Draw a red galaxy within a ring of young stars, lumpy and seen at some angle."""
    u, v, r = canvas.rotated(0, 0, thing.phi + rng.uniform(-0.3, 0.3), rng.uniform(0.5, 1.0))
    radius, width = rng.uniform(1.4, 4.5), rng.uniform(0.25, 0.7)
    lumps = 1 + 0.5 * np.cos(rng.integers(1, 4) * np.arctan2(v, u) + rng.uniform(0, 6.28))
    bluer = rng.uniform(0.3, 1.0)
    blue = _share(thing, fluxes, rng.uniform(0.08, 0.35), bluer, bluer)
    ring = np.exp(-((r - radius) ** 2) / (2 * width**2)) * lumps
    knots = _knots(canvas, ring, rng)
    lumpy = rng.uniform(0.0, 0.5)
    canvas.add(ring / ring.sum() * (1 - lumpy) + knots / knots.sum() * lumpy, blue)
    _, _, r = canvas.rotated(0, 0, thing.phi, thing.q)
    canvas.add(sersic(r, thing.re, thing.n), np.maximum(fluxes - blue, 0.1 * fluxes))


def _edge_on(canvas: Canvas, thing: Thing, fluxes: NDArray, rng: np.random.Generator) -> None:
    """Draw an old bulge and a thin disk seen from its side."""
    u, v, _ = canvas.rotated(0, 0, thing.phi, 1.0)
    scale = 1.4 * thing.re / 1.678
    bulge = _share(thing, fluxes, 0.8 * thing.more["bulge"], -thing.more["bulge_gr"], -thing.more["bulge_rz"])
    canvas.add(sersic(np.hypot(u, v / 0.8), 0.25 * thing.re, 2.0), bulge)
    # Thinner than two points of the canvas it would fall between them.
    height = max(thing.q * scale, 0.25 * PIXEL_ARCSEC)
    canvas.add(np.exp(-np.abs(u) / scale) / np.cosh(np.minimum(np.abs(v) / height, 50)) ** 2, np.maximum(fluxes - bulge, 0.05 * fluxes))


def _merger(canvas: Canvas, thing: Thing, fluxes: NDArray, rng: np.random.Generator) -> None:
    """Draw two galaxies, the second as red or bluer, and a tidal tail."""
    angle, distance = rng.uniform(0, 2 * math.pi), rng.uniform(1.2, 3.5)
    bluer = rng.uniform(0.1, 0.7)
    tail = _share(thing, fluxes, rng.uniform(0.05, 0.18), bluer, bluer)
    bluer = max(rng.uniform(-0.5, 0.6), 0.0)
    second = _share(thing, fluxes - tail, rng.uniform(0.25, 0.45), bluer, bluer)
    _, _, r = canvas.rotated(0, 0, thing.phi, thing.q)
    canvas.add(sersic(r, 0.8 * thing.re, thing.n), np.maximum(fluxes - tail - second, 0.1 * fluxes))
    x, y = distance * math.cos(angle), distance * math.sin(angle)
    _, _, r = canvas.rotated(x, y, rng.uniform(0, math.pi), rng.uniform(0.5, 1.0))
    canvas.add(sersic(r, 0.5 * thing.re, 2.5), second)
    radius, open_angle = rng.uniform(2.5, 5.5), rng.uniform(0.5, 1.2)
    away = np.hypot(canvas.x - x / 2, canvas.y - y / 2)
    round_ = np.angle(np.exp(1j * (np.arctan2(canvas.y - y / 2, canvas.x - x / 2) - angle - rng.uniform(1, 2))))
    canvas.add(np.exp(-((away - radius) ** 2) / (2 * rng.uniform(0.35, 0.8) ** 2) - round_**2 / (2 * open_angle**2)), tail)


def _lens(canvas: Canvas, thing: Thing, fluxes: NDArray, rng: np.random.Generator) -> None:
    """Add the arcs of a blue, clumpy source near the lens' caustic."""
    angle, distance = rng.uniform(0, 2 * math.pi), thing.more["theta_e"] * rng.uniform(0.05, 0.35)
    n = int(rng.integers(2, 5))
    sigma = np.concatenate([[rng.uniform(0.12, 0.2)], rng.uniform(0.04, 0.08, n)])
    source = {
        "x": distance * math.cos(angle) + np.concatenate([[0.0], rng.normal(0, 0.13, n)]),
        "y": distance * math.sin(angle) + np.concatenate([[0.0], rng.normal(0, 0.13, n)]),
        "share": np.concatenate([[0.6], np.full(n, 0.4 / n)]),
        "sigma": sigma,
    }
    light, magnification = arcs(canvas, thing.more["theta_e"], min(thing.q + 0.05, 0.97), thing.phi, source)
    r = thing.more["source_mag_r"]
    mags = (r + thing.more["source_gr"], r, r - thing.more["source_rz"])
    # The Galaxy dims the arcs as it does the lens.
    dimming = fluxes / np.array([10 ** ((ZERO_POINT - thing.mags[b]) / 2.5) for b in BANDS])
    canvas.add(light, magnification * dimming * np.array([10 ** ((ZERO_POINT - m) / 2.5) for m in mags]))


def _beside_a_star(light: NDArray, maskbits: NDArray, seeing, thing: Thing, fluxes: NDArray, rng: np.random.Generator) -> None:
    """Add a galaxy, and a saturated star near it: wide wings, spikes, a bleed trail along the columns, masks."""
    add_galaxy(light, seeing, thing.x, thing.y, fluxes, thing.re / PIXEL_ARCSEC, thing.n, thing.q, thing.phi)
    angle, distance = rng.uniform(0, 2 * math.pi), rng.uniform(4.5, 8.0) / PIXEL_ARCSEC
    x, y = thing.x + distance * math.cos(angle), thing.y + distance * math.sin(angle)
    star = 10 ** ((ZERO_POINT - rng.uniform(14.2, 16.2)) / 2.5) * np.array([0.6, 1.0, 1.3])
    add_galaxy(light, seeing, x, y, 0.95 * star, 0.0, 1.0)
    left, low = max(round(x) - STAR_REACH, 0), max(round(y) - STAR_REACH, 0)
    window = np.s_[low : max(round(y) + STAR_REACH + 1, 0), left : max(round(x) + STAR_REACH + 1, 0)]
    near, mask = light[(slice(None), *window)], maskbits[window]
    dy, dx = np.indices(mask.shape, dtype=np.float32) + np.array([low - y, left - x], np.float32)[:, None, None]
    r = np.hypot(dx, dy)
    wings = np.where(r < 90, 1 / (1 + (r / 5) ** 2) ** 1.5, 0) / (2 * math.pi * 25)
    spikes = np.where(r < 90, np.exp(-np.minimum(np.abs(dx + dy), np.abs(dx - dy)) / 1.2 - r / 18), 0)
    near += (0.04 * star)[:, None, None].astype(np.float32) * wings.astype(np.float32)
    near += (0.01 * star)[:, None, None].astype(np.float32) * (spikes / spikes.sum()).astype(np.float32)
    for i, band in enumerate(BANDS):
        saturated = (near[i] > FULL_WELL) & (r < 40)
        if saturated.any():
            length = min(4 * math.sqrt(float(star[i])), 60.0)
            trail = (np.abs(dx) < 1.2) & (np.abs(dy) < length)
            near[i][trail] = np.maximum(near[i][trail], FULL_WELL * 0.5)
            near[i] = np.minimum(near[i], FULL_WELL)
            mask[saturated | trail] |= 1 << SATUR[band] | 1 << ALLMASK[band]
    mask[r < 9 / PIXEL_ARCSEC] |= 1 << MEDIUM


_SHAPES = {"spiral": _spiral, "ring": _ring, "edge-on": _edge_on, "merger": _merger, "lens": _lens, "star-artefact": _beside_a_star}


def _share(thing: Thing, fluxes: NDArray, share: float, bluer_gr: float, bluer_rz: float) -> NDArray:
    """Return a share of the light in r, bluer than the whole by so many magnitudes in g − r and r − z, and never more than there is.

    Where i is in the place of z (`seen_in`), by the share of it that `third` says.
    """
    part = share * fluxes * 10 ** (0.4 * np.array([bluer_gr, 0.0, -bluer_rz * thing.more.get("third", 1.0)]))
    return np.minimum(part, 0.8 * fluxes)


def _exposures(conditions: Conditions, size: int) -> tuple[NDArray, NDArray]:
    """Return inverse variance and number of exposures of every pixel."""
    full = np.ones((size, size), np.float32)
    left = np.arange(size) < conditions.shallow_below
    share = np.where(left[None, :], np.float32(2 / 3), np.float32(1)) * full
    invvar = np.stack([np.float32(v) * share for v in conditions.invvar])
    nexp = np.stack([np.maximum(np.round(n * share), 1) for n in conditions.nexp]).astype(np.int16)
    return invvar, nexp


def _blemish(sky: Sky, cell: BrickCell, things: Sequence[Thing], seed: int) -> None:
    """Add bad columns, which no exposure covers, and a few pixels without a number."""
    rng = stream(seed, cell.brickid, "blemishes")
    size = sky.image.shape[1]
    for _ in range(3):
        i, x, y = rng.integers(len(BANDS)), rng.integers(size - 2), rng.integers(size)
        column = (i, slice(y, min(y + int(rng.integers(80, 300)), size)), slice(x, x + int(rng.integers(1, 3))))
        sky.image[column], sky.invvar[column], sky.nexp[column] = 0, 0, 0
        sky.maskbits[column[1:]] |= 1 << ALLMASK[BANDS[i]]
    for thing in things:
        if thing.kind == "host" and rng.random() < 1 / NAN_EVERY:
            sky.image[rng.integers(len(BANDS)), int(thing.y) + 6, int(thing.x) + 4 : int(thing.x) + 7] = np.nan


def _header(cell: BrickCell, size: int, cards: Sequence[tuple[str, object]]) -> list[dict[str, object]]:
    middle, step = (size + 1) / 2, PIXEL_ARCSEC / 3600
    all_cards: list[tuple[str, object]] = [
        ("MOCK", True),
        ("SURVEY", "MOCK"),
        ("SURVEYID", MOCK_NOTE),
        ("DECALSDR", "MOCK"),
        ("BRICKNAM", cell.name),
        ("BRICKID", cell.brickid),
        *(("RAMIN", cell.ra1), ("RAMAX", cell.ra2), ("DECMIN", cell.dec1), ("DECMAX", cell.dec2)),
        *(("BRICKRA", cell.ra), ("BRICKDEC", cell.dec), ("BRICKBND", "grz")),
        *(("CTYPE1", "RA---TAN"), ("CTYPE2", "DEC--TAN"), ("CRVAL1", cell.ra), ("CRVAL2", cell.dec)),
        *(("CRPIX1", middle), ("CRPIX2", middle), ("CD1_1", -step), ("CD1_2", 0.0), ("CD2_1", 0.0), ("CD2_2", step)),
        ("EQUINOX", 2000.0),
        *cards,
    ]
    return [{"name": name, "value": value} for name, value in all_cards]


def _write(path: Path, planes: Sequence[tuple[str, NDArray]], header: Sequence[Mapping[str, object]], brickid: int) -> None:
    """Write images fpacked in tiles, floating-point ones quantised with dither as the survey's are; the same pixels give the same bytes.

    Steps are a quarter of the noise for images. Noiseless maps have no such measure: theirs are 0.1% of the median.
    """
    with whole(path) as temporary, plain_folder() as folder:
        # cfitsio wants to make the file itself, and takes brackets in a path for a filter.
        made = Path(folder) / "coadd.fits.fz"
        with fitsio.FITS(str(made), "rw") as file:
            file.write(None)
            for name, pixels in planes:
                floating = pixels.dtype.kind == "f"
                typical = float(np.median(pixels))
                level = 4.0 if (pixels < 0).any() or not floating else -1e-3 * typical
                how = {"qlevel": level, "qmethod": "SUBTRACTIVE_DITHER_2", "dither_seed": brickid % 10000 + 1} if floating else {}
                file.write(pixels, extname=name, header=list(header), compress="RICE" if floating else "GZIP", tile_dims=TILE, **how)
        shutil.copyfile(made, temporary)
