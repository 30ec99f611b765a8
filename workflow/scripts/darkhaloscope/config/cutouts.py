"""Cutouts of any survey: what their files hold, and how those that the user brings are scored."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from .base import FilePath, Fraction, Name, Positive, Section, as_name, as_path
from .legacysurvey import BANDS, PIXEL_SCALE_ARCSEC, ZERO_POINT


class CutoutFolder(Section):
    """One file per object, FITS or NPZ, the object in the middle of square images with north up and east to the left."""

    path: str = Field(min_length=1, description="Folder of the files, from the project's root")
    files: str = Field("*", min_length=1, description="Pattern of the names of the folder's files that are meant, such as `DES_*.fits`")
    band_files: dict[str, str] = Field(
        default_factory=dict,
        description="FITS, where each band has a file of its own: pattern of its name; what the first `*` stands for is the object's name",
    )
    noise_files: dict[str, str] = Field(default_factory=dict, description="The same for the noise of each band")
    bands: tuple[str, ...] = Field(
        min_length=1,
        description="Bands of the images, in the files' order; files that name their bands are read by these names, and may have more",
    )
    pixel_scale_arcsec: Positive = Field(description="Side of a pixel [arcsec]")
    zero_point: float = Field(ZERO_POINT, description="AB magnitude of flux 1; 22.5 is nanomaggies")
    ignore_zero_points: bool = Field(
        False,
        description="Take `zero_point` whatever zero points and units the files say, which are wrong; without it a file that contradicts is refused",
    )
    psf_fwhm_arcsec: dict[str, Positive] = Field(
        default_factory=dict,
        description="FWHM of the PSF in each band [arcsec], where it is known; psfsize is that of a Moffat profile of this FWHM, of hosts that of the PSF of the camera",
    )
    image_hdus: tuple[int, ...] = Field(
        (),
        description="FITS: HDU of each band's image, from 0, or that of the cube, or with `band_files` that of each file's image; without it the file's only cube or images, noise and mask that say so in `IMAGETYP` aside",
    )
    noise_hdus: tuple[int, ...] = Field(
        (), description="FITS: HDU of each band's noise, from 0, or that of its cube, or with `band_files` that of each file's noise"
    )
    noise: Literal["invvar", "variance", "rms"] = Field(
        "invvar", description="What noise images hold (arrays and columns `invvar`, `variance` and `rms` are what their names say)"
    )

    mask_bits: tuple[Annotated[int, Field(ge=0, le=62)], ...] = Field(
        (),
        description="Bits of a mask (NPZ and Parquet: `mask`; FITS: the image whose `IMAGETYP` is maskbits) that make a pixel bad; without them, any that is set",
    )

    @model_validator(mode="after")
    def _check(self) -> CutoutFolder:
        if len(set(self.bands)) < len(self.bands):
            raise ValueError(f"bands names one band twice: {', '.join(self.bands)}")
        for key in ("band_files", "noise_files"):
            named = getattr(self, key)
            if named and set(named) != set(self.bands):
                raise ValueError(f"{key} names {', '.join(named)}, expected a pattern for each of {', '.join(self.bands)}")
            if plain := [pattern for pattern in named.values() if "*" not in pattern]:
                raise ValueError(f"{key} has {', '.join(plain)} without a `*`, which stands for the object's name")
        if self.noise_files and not self.band_files:
            raise ValueError("noise_files needs band_files: give the patterns of the images, too")
        for key in ("image_hdus", "noise_hdus"):
            wanted = {1} if self.band_files else {1, len(self.bands)}
            if getattr(self, key) and len(getattr(self, key)) not in wanted:
                all_bands = "" if self.band_files else f", or one for each of the {len(self.bands)} bands"
                raise ValueError(f"{key} has {len(getattr(self, key))} HDUs, expected one{all_bands}")
        if strangers := sorted(set(self.psf_fwhm_arcsec) - set(self.bands)):
            raise ValueError(f"psf_fwhm_arcsec names {', '.join(strangers)}, which `bands` does not")
        return self


class Labelled(CutoutFolder):
    """Cutouts in any bands, with what stands in for the networks', and where their labels are."""

    path: FilePath | None = Field(None, description="Folder of FITS or NPZ files, one per object, or one NPZ file or Parquet table of many")
    bands: tuple[str, ...] = Field(
        BANDS,
        min_length=1,
        description="Bands of the images, in the files' order; files that name their bands are read by these names, and may have more",
    )
    pixel_scale_arcsec: Positive = Field(PIXEL_SCALE_ARCSEC, description="Side of a pixel [arcsec]")
    stand_in: dict[str, str] = Field(
        default_factory=dict,
        description="Bands that networks see and the cutouts lack, and which of `bands` stands in for each, such as `z: i`",
    )
    labels: FilePath | None = Field(
        None,
        description="CSV, FITS or Parquet table with a column `id` (names of files or objects), a label, and `ra` and `dec` where the cutouts lack them",
    )
    label: str = Field(
        "label", min_length=1, description="Column, or array of NPZ files, that holds the label: a number, such as 0 and 1, or a grade"
    )
    positive_from: float = Field(1.0, description="Labels of at least this are lenses")
    control_to: float = Field(0.0, description="Labels of at most this are controls; what lies between is scored and counts in no rate")

    @model_validator(mode="after")
    def _check_use(self) -> Labelled:
        lost = [band for band in BANDS if band not in self.bands and band not in self.stand_in]
        if lost:
            raise ValueError(
                f"networks see {', '.join(BANDS)}, and the cutouts' bands ({', '.join(self.bands)}) lack {', '.join(lost)}; name what stands in, "
                f"for example stand_in: {{{lost[0]}: {self.bands[-1]}}}, which the results then say"
            )
        for band, other in self.stand_in.items():
            if band in self.bands or band not in BANDS:
                why = "the cutouts have" if band in self.bands else "no network sees"
                raise ValueError(f"stand_in names {band}, which {why}; take it out")
            if other not in self.bands:
                raise ValueError(f"stand_in takes {other} for {band}, but the cutouts' bands are {', '.join(self.bands)}")
        if self.control_to >= self.positive_from:
            raise ValueError(f"control_to ({self.control_to:g}) must be below positive_from ({self.positive_from:g})")
        return self

    @property
    def sources(self) -> tuple[str, ...]:
        """The band of the cutouts that each band of the networks is taken from."""
        return tuple(self.stand_in.get(band, band) for band in BANDS)


class Cutouts(Labelled):
    """Cutouts that the user brings to be scored by trained networks. A bare path is the folder or table."""

    path: FilePath | None = Field(
        None,
        description="Folder of FITS or NPZ files, one per object, or one NPZ file or Parquet table of many; where it is given, its cutouts are scored in place of `run`",
    )
    name: Name | None = Field(None, description="Name of the folder of their results; left out, that of `path` without its ending")
    experiment: Name | None = Field(
        None, description="Experiment whose networks give the scores; the first of `run` with networks of bands where it is left out"
    )
    detectors: tuple[Name, ...] = Field((), description="Which of its networks; all that see bands where it is left out")

    @model_validator(mode="before")
    @classmethod
    def _accept_path(cls, value: Any) -> Any:
        return as_path(value)

    @property
    def folder(self) -> str:
        """Name of the folder of its results: `name`, or that of the folder or file of cutouts."""
        plain = re.sub(r"\.(parquet|pq|npz)$", "", Path(self.path or "").resolve().name)
        return self.name or as_name(plain) or "cutouts"


class RealSky(Labelled):
    """Real galaxies with labels: gates ask networks about those of one part of the sky, those of the other may join training."""

    path: FilePath = Field(description="Folder of FITS or NPZ files, one per object, or one NPZ file or Parquet table of many")
    train_share: Fraction = Field(
        0.5,
        description="Share of the sky (HEALPix cells of 3.7 degrees, by a hash; objects without a position by their name) whose objects may join training: networks with `training.real_share` above 0 are asked about the rest alone, all others about all",
    )


class HostCutouts(Labelled):
    """Real cutouts that serve as hosts and controls of a lens-finder dataset, in place of a survey's galaxies."""

    path: FilePath = Field(description="Folder of FITS or NPZ files, one per object, or one NPZ file or Parquet table of many")
    nside: int = Field(64, ge=1, le=8192, description="HEALPix resolution of the sky cells by which splits are made; 64 is 55 arcmin")
    max_bad_fraction: Fraction = Field(0.2, description="A cutout is not usable above this fraction of bad pixels in any one band")

    @model_validator(mode="after")
    def _check_hosts(self) -> HostCutouts:
        if lost := [band for band in self.sources if band not in self.psf_fwhm_arcsec]:
            raise ValueError(
                f"arcs are blurred as their hosts are: psf_fwhm_arcsec lacks {', '.join(dict.fromkeys(lost))}; give the resolution in arcsec"
            )
        if self.nside & (self.nside - 1):
            raise ValueError(f"nside must be a power of two, found {self.nside}")
        return self
