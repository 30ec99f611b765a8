"""The model-based detector of subhalos: how it looks for the lens, and what the source may look like."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from .base import Fraction, Positive, Section
from .detector import NotTrained
from .subhalo import SubhaloDataset

#: Amplitude and length of each term of a kernel.
Terms = tuple[tuple[Positive, Positive], ...]


def _some(kernels: tuple[Terms, ...]) -> tuple[Terms, ...]:
    if not kernels or not all(kernels):
        raise ValueError("give at least one kernel, each with at least one [amplitude, length]")
    return kernels


Kernels = Annotated[tuple[Terms, ...], AfterValidator(_some)]


class MassFunction(Section):
    """How many subhalos of which mass there are, dN/dM ∝ M^slope."""

    slope: float = Field(-1.9, ge=-4, le=1, description="Slope of the mass function dN/dM ∝ M^slope")
    fraction: Fraction = Field(0.012, description="Share of the mass near the Einstein radius that is in subhalos of the mass function")
    mass_bounds_msun: tuple[Positive, Positive] = Field((1e6, 1e11), description="Bounds of the mass function, M200 [M☉]")

    @model_validator(mode="after")
    def _bounds_increase(self) -> MassFunction:
        if self.mass_bounds_msun[0] >= self.mass_bounds_msun[1]:
            raise ValueError(f"mass_bounds_msun {list(self.mass_bounds_msun)} are not an increasing pair")
        return self


class Sensitivity(MassFunction):
    """What the detector would have seen: which subhalos, at which threshold, and how many of a mass function."""

    stamps: int = Field(40, ge=0, description="Test stamps whose sensitivity is mapped, the first of them")
    threshold: float = Field(5.0, gt=0, description="z that counts as a detection")
    kept: float = Field(
        0.94,
        gt=0,
        le=1,
        description="Share of the mean z promised by the lens and source as found that halos reach when both are fitted to the image with the halo in it; measured by benchmarks/recover_injections.py on training stamps",
    )
    profile: Literal["nfw", "tnfw"] = Field(
        "nfw", description="Profile of the halos, with the mean concentration and truncation of the dataset"
    )
    log10_mass_msun: tuple[float, ...] = Field(
        (8.0, 8.5, 9.0, 9.5, 10.0, 10.5), description="Masses that are mapped, log₁₀ M200/M☉, increasing", min_length=2
    )

    @model_validator(mode="after")
    def _check(self) -> Sensitivity:
        masses = self.log10_mass_msun
        if any(a >= b for a, b in pairwise(masses)):
            raise ValueError(f"log10_mass_msun must increase, found {list(masses)}")
        return self


class SearchStage(Section):
    """One coarse image of the search for the lens: how coarse, how noisy, how many lenses are fitted to it."""

    bin: int = Field(2, ge=1, le=8, description="Pixels on a side of a bin")
    noise: float = Field(
        1.0,
        ge=1,
        description="Factor on the variance, so that a rough lens already counts as near; at 1 the evidence chooses a source kernel",
    )
    starts: int = Field(4, ge=1, description="Best different lenses of the stage before that are fitted")
    steps: int = Field(5, ge=1, description="Most Gauss–Newton steps")


class Evidence(Section):
    """How the model-based detector works: its searches, and the kernels of the source that it chooses from, stamp by stamp."""

    source_kernels: Kernels = Field(
        (((0.5, 0.5),), ((1.0, 0.5),), ((0.5, 1.0),), ((1.0, 1.0),), ((0.5, 2.0),), ((1.0, 2.0),)),
        description="Kernels of the source's light: each a sum of Matérn-3/2 terms [amplitude in units of the stamp's flux, length in units of the source's size]; the evidence chooses",
    )
    source_extents: tuple[Positive, ...] = Field(
        (1.0, 2.0),
        description="What sources are bright within: their amplitude falls as 1/(1 + β²/R²) about the middle of the light; the evidence chooses R, in units of the source's size",
        min_length=1,
    )
    velocity_kernels: Kernels = Field(
        (((60.0, 0.25),), ((120.0, 0.25),), ((120.0, 0.6),), ((200.0, 1.0),)),
        description="Kernels of the source's velocity field: terms [amplitude in km/s, length in arcsec]",
    )
    start_kernel: Terms = Field(((0.5, 1.2),), description="Smooth kernel of the search for the lens on coarse images", min_length=1)
    start_extent: Positive = Field(2.0, description="R of that search")
    draws: int = Field(512, ge=1, le=65536, description="Lenses of the prior that are tried on the first coarse image of the search")
    search: tuple[SearchStage, ...] = Field(
        (
            SearchStage(bin=3, noise=16.0, starts=16, steps=4),
            SearchStage(bin=2, noise=4.0, starts=4, steps=5),
            SearchStage(bin=2, noise=1.0, starts=2, steps=5),
        ),
        min_length=1,
        description="Coarse images on which the lens is looked for, one after the other",
    )
    steps: int = Field(4, ge=1, description="Most Gauss–Newton steps on the image itself, with each kernel that is tried")
    enough: float = Field(
        0.3, ge=0, description="Fit no further where the next step promises less than this in the logarithm of the evidence"
    )
    restart_chi2: float = Field(
        1.2, gt=1, description="χ² per pixel above which the lens is looked for anew, and a fit is not to be trusted"
    )
    restart_factor: int = Field(4, ge=1, le=64, description="How many times as many draws and starts the search then has")
    place_step: int = Field(2, ge=1, le=8, description="1 tries a subhalo in every pixel, 2 in every second one, as on a chessboard")
    strength: tuple[Positive, Positive] = Field(
        (0.8, 0.3),
        description="Mean and width of the strength with which a subhalo shows, in units of its profile's of mean mass and concentration: masses and concentrations differ, and lens and source take up a part; normal",
    )
    batch_size: int = Field(1, ge=1, description="Stamps computed at a time; changes memory and speed alone. On a GPU some dozens")
    maps: bool = Field(
        False,
        description="Keep residuals, z and √ν′ of every stamp as maps of its pixels beside the findings, for networks with `sees: evidence`",
    )
    sensitivity: Sensitivity = Field(Sensitivity(), description="Sensitivity maps")


class EvidenceDetector(NotTrained):
    """The model-based detector: its searches are those of the section `evidence`, which all detectors of this kind share."""

    kind: Literal["evidence"] = Field("evidence", description="Kind of detector")
    channels: Literal["flux", "velocity", "both"] = Field("both", description="What the score is made of")
    learnt: ClassVar[bool] = False
    #: Its velocity is the stamp's own, on the mask of the observed flux.
    label_blind: ClassVar[bool] = False


def unfit(dataset: SubhaloDataset, prior: bool) -> list[str]:
    """Return what keeps the model-based detector from looking at stamps of a dataset, in words; `prior`: whether it has its priors from there, too."""
    problems, noise = [], dataset.instrument.noise
    if not noise.flux or noise.background_share == 0:
        problems.append(
            "whose flux has no noise on dark sky that could be measured: set instrument.noise.flux to true and background_share above 0, or leave them out there"
        )
    if prior and dataset.contrast != "subhalo":
        problems.append(f"whose label is not a subhalo (contrast {dataset.contrast}): leave them out there")
    if prior and not dataset.lens.varies:
        problems.append("whose lenses are all one: let lens.theta_e_arcsec or another of their parameters vary, however little")
    return problems
