"""Small sweeps, brick tables and bricks, every value of which a test sets."""

import fitsio
import numpy as np
import pytest

BANDS = ("G", "R", "Z")
BASE = {
    "RELEASE": ("i2", 10001),
    "BRICKID": ("i4", 333850),
    "BRICKNAME": ("S8", b"1506p005"),
    "OBJID": ("i4", 0),
    "TYPE": ("S3", b"DEV"),
    "RA": ("f8", 150.6),
    "DEC": ("f8", 0.5),
    "EBV": ("f4", 0.02),
    "MASKBITS": ("i4", 0),
    # z = 19, r = 20, W1 = 18.5, g = 21.5 as observed; with no extinction it passes every cut.
    "FLUX_G": ("f4", 10 ** (0.4 * (22.5 - 21.5))),
    "FLUX_R": ("f4", 10 ** (0.4 * (22.5 - 20.0))),
    "FLUX_Z": ("f4", 10 ** (0.4 * (22.5 - 19.0))),
    "FLUX_W1": ("f4", 10 ** (0.4 * (22.5 - 18.5))),
    "MW_TRANSMISSION_W1": ("f4", 1.0),
    **{f"FLUX_IVAR_{b}": ("f4", 100.0) for b in BANDS},
    **{f"MW_TRANSMISSION_{b}": ("f4", 1.0) for b in BANDS},
    **{f"NOBS_{b}": ("i2", 3) for b in BANDS},
    **{f"PSFDEPTH_{b}": ("f4", 200.0) for b in BANDS},
    **{f"PSFSIZE_{b}": ("f4", 1.3) for b in BANDS},
}


@pytest.fixture
def write_sweep(tmp_path):
    """Write a sweep file of rows that differ from `BASE` in what each names; `without` columns are left out."""

    def write(rows, name="sweep.fits", without=(), lower=False):
        columns = {k: v for k, v in BASE.items() if k not in without}
        table = np.zeros(len(rows), [(k, dtype) for k, (dtype, _) in columns.items()])
        for i, row in enumerate(rows):
            for key, (_, default) in columns.items():
                table[key][i] = {"OBJID": i + 1, **row}.get(key, default)
        if lower:
            table.dtype.names = [k.lower() for k in table.dtype.names]
        fitsio.write(tmp_path / name, table, clobber=True)
        return tmp_path / name

    return write


@pytest.fixture
def write_brick_tables(tmp_path):
    """Write bounds and conditions of two neighbouring bricks; PSF sizes 1.1, 1.2, 1.3 and depths 24, 23.5, 22.5."""

    def write():
        bounds = np.zeros(3, [("BRICKNAME", "S8"), *((k, "f8") for k in ("RA1", "RA2", "DEC1", "DEC2"))])
        bounds[:] = [
            (b"1506p005", 150.5, 150.75, 0.375, 0.625),
            (b"1508p005", 150.75, 151.0, 0.375, 0.625),
            (b"1511p005", 151.0, 151.25, 0.375, 0.625),
        ]
        seen = np.zeros(2, [("brickname", "S8"), *((f"{n}_{b.lower()}", "f4") for n in ("psfsize", "psfdepth") for b in BANDS)])
        seen["brickname"] = [b"1508p005", b"1506p005"]
        for i, b in enumerate("grz"):
            seen[f"psfsize_{b}"], seen[f"psfdepth_{b}"] = 1.1 + 0.1 * i, (24.0, 23.5, 22.5)[i]
        fitsio.write(tmp_path / "bounds.fits", bounds, clobber=True)
        fitsio.write(tmp_path / "conditions.fits.gz", seen, clobber=True)
        return tmp_path / "bounds.fits", tmp_path / "conditions.fits.gz"

    return write


class BrickFiles:
    """A brick of 200 × 200 pixels whose pixels a test may change before it is written."""

    name = "1506p005"
    size = 200

    def __init__(self, folder):
        self.folder = folder
        rng = np.random.default_rng(5)
        self.image = {b: rng.normal(0, 1, (self.size, self.size)).astype(np.float32) for b in "grz"}
        self.invvar = {b: np.full((self.size, self.size), 4.0, np.float32) for b in "grz"}
        self.psfsize = {b: np.full((self.size, self.size), size, np.float32) for b, size in zip("grz", (1.4, 1.3, 1.2), strict=True)}
        self.maskbits = np.zeros((self.size, self.size), np.int32)
        self.ra, self.dec = 150.625, 0.5

    def header(self):
        step = 0.262 / 3600
        return {
            **{"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": self.ra, "CRVAL2": self.dec},
            **{"CRPIX1": 100.5, "CRPIX2": 100.5, "CD1_1": -step, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": step},
        }

    def path(self, product, band=""):
        return self.folder / f"legacysurvey-{self.name}-{product}{f'-{band}' if band else ''}.fits.fz"

    def write(self):
        """Write all files, losslessly, in tiles."""
        self.folder.mkdir(parents=True, exist_ok=True)
        planes = {(p, b): getattr(self, p)[b] for p in ("image", "invvar", "psfsize") for b in "grz"}
        planes["maskbits", ""] = self.maskbits
        for (product, band), pixels in planes.items():
            with fitsio.FITS(self.path(product, band), "rw", clobber=True) as file:
                file.write(None)
                file.write(pixels, compress="GZIP", tile_dims=(100, 100), qlevel=None, header=self.header())
        return self

    def sky(self, x, y):
        """Position of a pixel, by astropy."""
        from astropy.wcs import WCS

        return (float(v) for v in WCS(self.header()).wcs_pix2world(x, y, 0))


@pytest.fixture
def brick_files(tmp_path):
    """Files of a brick, not yet written."""
    return BrickFiles(tmp_path / "brick")
