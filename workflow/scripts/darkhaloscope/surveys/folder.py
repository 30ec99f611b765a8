"""A folder of cutouts, a member of the survey protocol: any survey's images, one FITS or NPZ file per object.

NPZ files hold `image` or `cutout`, bands first or last, and where they are known `invvar` (or `variance`, `rms`),
`mask` (not 0: bad), `ra` and `dec` (or `meta_ra`, `meta_dec`). FITS files hold a cube, or an image per band; `RA` and
`DEC` of the primary header give the position.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray

from ..config.cutouts import CutoutFolder
from ..core.reading import read_npz, readable
from .cutouts import Cutout

ENDINGS = (".fits", ".fits.gz", ".fits.fz", ".npz")
#: A position asked for is that of a file within this [arcsec].
MATCH_ARCSEC = 2.0
#: Variances below this are no measurements: their inverse does not fit into a float32.
LEAST_VARIANCE = 1e-30
#: No cutout has more pixels than this on a side.
MAX_SIDE = 2048


class CutoutError(ValueError):
    """A file of cutouts cannot be used; the message names it and what was expected."""


class FolderOfCutouts:
    """The cutouts of a folder, by name or by position.

    Parameters
    ----------
    settings : what the files hold.

    Raises
    ------
    CutoutError
        The folder does not exist, or holds no file of cutouts.
    """

    def __init__(self, settings: CutoutFolder) -> None:
        self.settings = settings
        self.bands = settings.bands
        self.pixel_scale_arcsec = settings.pixel_scale_arcsec
        self.zero_point = settings.zero_point
        folder = Path(settings.path)
        files = sorted(folder.iterdir()) if folder.is_dir() else []
        # Hidden files are other programs' own: half-written copies, and what file systems leave beside a file.
        self._files = {_stem(p.name): p for p in files if p.name.endswith(ENDINGS) and not p.name.startswith((".", "_"))}
        if not self._files:
            raise CutoutError(f"{folder}: expected a folder with files ending in {', '.join(ENDINGS)}, found none; correct its path")
        self._places: dict[str, tuple[float, float]] | None = None

    @property
    def names(self) -> list[str]:
        """Names of the objects: those of their files."""
        return list(self._files)

    def named(self, name: str, size: int | None = None) -> Cutout:
        """Return an object's cutout, cropped about its middle to `size` pixels where that is given.

        Raises
        ------
        CutoutError
            There is no such object; its file is unreadable, has other bands than the settings say, is not square, or is smaller than `size`.
        """
        if name not in self._files:
            raise CutoutError(
                f"{self.settings.path}: there is no cutout '{name}' (it has {len(self._files)}, such as {next(iter(self._files))})"
            )
        path = self._files[name]
        return self._cutout(path, *self._read(path)[:2], size)

    def cutout(self, ra: float, dec: float, size: int) -> Cutout:
        """Return the stamp of the file whose position is within `MATCH_ARCSEC`; errors as `named`."""
        if self._places is None:
            found = {name: self._read(path)[2] for name, path in self._files.items()}
            self._places = {name: place for name, place in found.items() if place is not None}
        if self._places:
            names = list(self._places)
            sky = SkyCoord(*np.array(list(self._places.values())).T, unit="deg")
            away = sky.separation(SkyCoord(ra, dec, unit="deg")).arcsec
            if away.min() <= MATCH_ARCSEC:
                return self.named(names[int(away.argmin())], size)
        raise CutoutError(
            f"{self.settings.path}: no file has a position within {MATCH_ARCSEC:g} arcsec of {ra:.5f}, {dec:.5f} "
            f"({len(self._places)} of {len(self._files)} files say theirs); ask for it by name"
        )

    def close(self) -> None:
        """Nothing stays open."""

    def _read(self, path: Path) -> tuple[NDArray, NDArray | None, tuple[float, float] | None]:
        """Return image and inverse variance, (bands, ny, nx), and position of a file."""
        with readable(path, "a cutout as FITS or NPZ", "fetch it again, or take it away", CutoutError):
            content = path.read_bytes()
            read = self._from_npz if content[:4] == b"PK\x03\x04" else self._from_fits
            return read(content, path)

    def _from_npz(self, content: bytes, path: Path) -> tuple[NDArray, NDArray | None, tuple[float, float] | None]:
        arrays = read_npz(content)
        key = next((k for k in ("image", "cutout") if k in arrays), None)
        if key is None:
            raise CutoutError(f"{path}: expected an array image or cutout, found {', '.join(arrays) or 'none'}; rename it")
        image = self._bands_first(arrays[key], path)
        noise = self._bands_first(arrays[self.settings.noise], path) if self.settings.noise in arrays else None
        if "mask" in arrays:
            mask = arrays["mask"] if arrays["mask"].ndim == 2 else self._bands_first(arrays["mask"], path)
            image = np.where(mask != 0, np.nan, image)
        return image, self._invvar(noise), _position(arrays, ("ra", "dec"), ("meta_ra", "meta_dec"))

    def _from_fits(self, content: bytes, path: Path) -> tuple[NDArray, NDArray | None, tuple[float, float] | None]:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="(?s).*(truncated|corrupted)", category=AstropyWarning)
            with fits.open(io.BytesIO(content), memmap=False) as hdus:
                images = [i for i, hdu in enumerate(hdus) if hdu.is_image and hdu.data is not None]
                cubes = [i for i in images if hdus[i].data.ndim == 3]
                position = _position(hdus[0].header, ("RA", "DEC"))
                if not self.settings.image_hdus and len(cubes) == 1:
                    image = self._bands_first(np.asarray(hdus[cubes[0]].data), path)
                else:
                    image = self._stack(hdus, self.settings.image_hdus or images[: len(self.bands)], images, path)
                noise = self._stack(hdus, self.settings.noise_hdus, images, path) if self.settings.noise_hdus else None
        return image, self._invvar(noise), position

    def _stack(self, hdus: fits.HDUList, wanted: tuple[int, ...] | list[int], images: list[int], path: Path) -> NDArray:
        planes = [np.asarray(hdus[i].data) for i in wanted if i in images]
        if len(planes) != len(self.bands) or len({p.shape for p in planes}) != 1 or planes[0].ndim != 2:
            found = ", ".join(f"HDU {i} {hdus[i].data.shape}" for i in images) or "no image"
            raise CutoutError(
                f"{path}: expected an image of one shape for each of {', '.join(self.bands)}, found {found}; set `image_hdus`"
            )
        return np.stack(planes).astype(float)

    def _bands_first(self, array: NDArray, path: Path) -> NDArray:
        n = len(self.bands)
        if array.ndim == 3 and array.dtype.kind in "fiub":
            if array.shape[0] == n:
                return array.astype(float)
            if array.shape[2] == n:
                return np.moveaxis(array, 2, 0).astype(float)
        raise CutoutError(
            f"{path}: expected numbers of shape ({n}, size, size) or (size, size, {n}) for {', '.join(self.bands)}, "
            f"found {array.shape} of {array.dtype}; write the file anew, or correct `bands`"
        )

    def _invvar(self, noise: NDArray | None) -> NDArray | None:
        if noise is None or self.settings.noise == "invvar":
            return noise
        variance = noise if self.settings.noise == "variance" else noise**2
        with np.errstate(divide="ignore", invalid="ignore"):
            # A variance of nothing is that of no measurement.
            return np.where(variance > LEAST_VARIANCE, 1 / variance, 0.0)

    def _cutout(self, path: Path, image: NDArray, invvar: NDArray | None, size: int | None) -> Cutout:
        height, width = image.shape[1:]
        if (
            height != width
            or width > MAX_SIDE
            or (size is not None and width < size)
            or (invvar is not None and invvar.shape != image.shape)
        ):
            raise CutoutError(
                f"{path}: images are {width} × {height} pixels, expected square ones of {size or 1} to {MAX_SIDE}, and noise of the same shape"
            )
        start = 0 if size is None else (width - size) // 2
        window = slice(start, start + (size or width))
        image = image[:, window, window]
        finite = np.isfinite(image)
        weight = (
            np.where(finite, 1.0, 0.0)
            if invvar is None
            else np.where(finite & np.isfinite(invvar[:, window, window]), invvar[:, window, window], 0.0)
        )
        good = finite & (weight > 0)
        # An even crop of an odd image, or the other way round, has its middle half a pixel beside the object.
        offset = 0.0 if size is None or (width - size) % 2 == 0 else 0.5 * self.pixel_scale_arcsec
        bad = 1 - good.mean((1, 2))
        return Cutout(
            image=np.where(finite, image, 0.0).astype(np.float32),
            invvar=weight.astype(np.float32),
            good=good,
            psfsize=np.array([self.settings.psf_fwhm_arcsec.get(b, 0.0) for b in self.bands], np.float32),
            bad_fractions=bad.astype(np.float32),
            n_not_finite=int((~finite).sum()),
            ok=bool(good.any((1, 2)).all()),
            reason="" if good.any((1, 2)).all() else f"{path.name} has a band without a good pixel",
            x_offset_arcsec=offset,
            y_offset_arcsec=offset,
            x0=start,
            y0=start,
            pixel_scale_arcsec=self.pixel_scale_arcsec,
        )


def _stem(name: str) -> str:
    return next(name.removesuffix(ending) for ending in sorted(ENDINGS, key=len, reverse=True) if name.endswith(ending))


def _position(values: Mapping, *names: tuple[str, str]) -> tuple[float, float] | None:
    """Return right ascension and declination [deg] where a file says them."""
    for ra, dec in names:
        try:
            place = float(values[ra]), float(values[dec])
        except (KeyError, TypeError, ValueError):
            continue
        if 0 <= place[0] <= 360 and -90 <= place[1] <= 90:
            return place
    return None
