"""A folder of cutouts of any survey: what its files hold."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from .base import Positive, Section
from .legacysurvey import ZERO_POINT


class CutoutFolder(Section):
    """One file per object, FITS or NPZ, the object in the middle of square images with north up and east to the left."""

    path: str = Field(min_length=1, description="Folder of the files, from the project's root")
    bands: tuple[str, ...] = Field(min_length=1, description="Bands of the images, in the files' order")
    pixel_scale_arcsec: Positive = Field(description="Side of a pixel [arcsec]")
    zero_point: float = Field(ZERO_POINT, description="AB magnitude of flux 1; 22.5 is nanomaggies")
    psf_fwhm_arcsec: dict[str, Positive] = Field(default_factory=dict, description="Resolution in each band [arcsec], where it is known")
    image_hdus: tuple[int, ...] = Field(
        (), description="FITS: HDU of each band's image, from 0; without it the only cube, or the first images in the file's order"
    )
    noise_hdus: tuple[int, ...] = Field((), description="FITS: HDU of each band's noise, from 0")
    noise: Literal["invvar", "variance", "rms"] = Field(
        "invvar", description="What noise images hold (NPZ: array `invvar`, `variance` or `rms`)"
    )

    @model_validator(mode="after")
    def _check(self) -> CutoutFolder:
        if len(set(self.bands)) < len(self.bands):
            raise ValueError(f"bands names one band twice: {', '.join(self.bands)}")
        for key in ("image_hdus", "noise_hdus"):
            if getattr(self, key) and len(getattr(self, key)) != len(self.bands):
                raise ValueError(f"{key} has {len(getattr(self, key))} HDUs, expected one for each of the {len(self.bands)} bands")
        if strangers := sorted(set(self.psf_fwhm_arcsec) - set(self.bands)):
            raise ValueError(f"psf_fwhm_arcsec names {', '.join(strangers)}, which `bands` does not")
        return self
