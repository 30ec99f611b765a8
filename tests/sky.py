"""A synthetic parent sample and hand-made cutouts for tests of the lens finder."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from astropy import units
from astropy_healpix import lonlat_to_healpix

from darkhaloscope.core.tables import write_table
from darkhaloscope.surveys.legacysurvey.schema import PARENT

PER_BRICK = 50


def write_parent(path: Path, count: int, seed: int = 1, nside: int = 64, batch: int = 500_000) -> Path:
    """Write a parent sample of `count` galaxies in bricks of 50, far from each other, in batches."""

    def batches():
        for start in range(0, count, batch):
            yield parent_rows(start, min(batch, count - start), seed, nside)

    write_table(path, PARENT, batches(), row_group=65536)
    return path


def parent_rows(start: int, count: int, seed: int = 1, nside: int = 64) -> pa.Table:
    """Return some rows of a parent sample of red galaxies: magnitude, PSF and depth vary independently."""
    rng = np.random.default_rng([seed, start])
    index = np.arange(start, start + count)
    brick = index // PER_BRICK
    r = np.clip(rng.normal(20.3, 0.7, count), 17.5, 22)
    mag = {"g": r + rng.normal(1.6, 0.1, count), "r": r, "z": r - rng.normal(0.9, 0.1, count), "w1": r - 1.8}
    # Bricks on a grid of a degree over the sky south of +30; galaxies somewhere in the quarter degree of their brick.
    ra = (brick % 360) + rng.uniform(0, 0.25, count) + 0.25 * (brick // (360 * 90) % 4)
    dec = -60 + (brick // 360 % 90) + rng.uniform(0, 0.25, count) + 0.25 * (brick // (360 * 90 * 4))
    scatter = rng.normal(0, 0.1, count)
    return PARENT.table(
        {
            "object_id": (10000 << 42) + (brick.astype(np.int64) << 22) + index % PER_BRICK,
            "release": np.full(count, 10000, np.int32),
            "brickid": brick.astype(np.int32),
            "objid": (index % PER_BRICK).astype(np.int32),
            "brickname": pa.array([f"b{b:07d}" for b in brick.tolist()]),
            "ra": ra,
            "dec": dec,
            "type": ["DEV"] * count,
            **{f"flux_{b}": (10 ** (0.4 * (22.5 - m))).astype(np.float32) for b, m in mag.items()},
            **{f"mag_{b}": mag[b].astype(np.float32) for b in "grz"},
            "ebv": np.full(count, 0.03, np.float32),
            **{f"psfsize_{b}": (p + scatter).clip(0.9, 2).astype(np.float32) for b, p in zip("grz", (1.45, 1.3, 1.2), strict=True)},
            **{
                f"psfdepth_{b}": (d * np.exp(rng.normal(0, 0.2, count))).astype(np.float32)
                for b, d in zip("grz", (800, 400, 100), strict=True)
            },
            "maskbits": np.zeros(count, np.int32),
            **{f"nobs_{b}": np.full(count, 4, np.int16) for b in "grz"},
            "contaminant_class": np.where(index % 9 == 0, "spiral", ""),
            "known_lens": index % 40 == 7,
            "healpix": lonlat_to_healpix(ra * units.deg, dec * units.deg, nside, order="nested"),
        }
    )


def cutout(number: int, size: int = 64, flux: float = 30.0, offset: tuple[float, float] = (0.05, -0.1)):
    """Return a cutout of a round red galaxy on noise, all of it good; the same number gives the same pixels."""
    from darkhaloscope.surveys.legacysurvey.bricks import Cutout

    rng = np.random.default_rng(number)
    invvar = np.ones((3, size, size), np.float32) * np.array([2000, 900, 250], np.float32)[:, None, None]
    axis = (np.arange(size) - (size - 1) / 2) * 0.262
    shape = np.exp(-np.hypot(axis[None, :] - offset[0], axis[:, None] - offset[1]))
    galaxy = flux * np.array([0.25, 1.0, 2.2])[:, None, None] * shape / shape.sum()
    image = galaxy + rng.normal(size=invvar.shape) / np.sqrt(invvar)
    return Cutout(
        image=image.astype(np.float32),
        invvar=invvar,
        good=np.ones(invvar.shape, bool),
        psfsize=np.array([1.45, 1.3, 1.2], np.float32),
        bad_fractions=np.zeros(3, np.float32),
        n_not_finite=0,
        ok=True,
        reason="",
        x_offset_arcsec=offset[0],
        y_offset_arcsec=offset[1],
        x0=0,
        y0=0,
        pixel_scale_arcsec=0.262,
    )


def refused(size: int = 64):
    """Return a cutout that is not ok."""
    return replace(
        cutout(0, size),
        image=np.zeros((3, size, size), np.float32),
        good=np.zeros((3, size, size), bool),
        bad_fractions=np.ones(3, np.float32),
        ok=False,
        reason="band z is missing",
    )
