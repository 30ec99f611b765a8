"""A subhalo dataset: sources, macro lens, subhalo, instrument, splits and size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from .base import AboveZero, Distribution, FilePath, Fraction, GalaxyId, Name, NonNegative, Positive, Section, draw, within
from .lenses import MAIN, SUBHALO, drawing
from .sources import MOVING, Mixed, with_sections

SPLITS = ("train", "validation", "test")
#: Below this many pixels per full width at half maximum a PSF is not sampled at all.
MIN_PIXELS_PER_FWHM = 1.0
FWHM_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))


def check_adds_up(what: str, shares: Mapping[str, float]) -> None:
    """Raise ValueError unless shares add up to 1."""
    total = sum(shares.values())
    if abs(total - 1) > 1e-6:
        raise ValueError(f"{what} must add up to 1, these add up to {total:g}")


def check_rings_fit(theta_e: Distribution, width_arcsec: float) -> None:
    """Raise ValueError when an Einstein radius reaches beyond a stamp of this width."""
    largest = theta_e.bounds[1]
    if largest > width_arcsec / 2:
        raise ValueError(
            f"theta_e_arcsec reaches {largest:g}, beyond the stamp's half width of {width_arcsec / 2:g} arcsec: enlarge stamp_size"
        )


class SplitFractions(Section):
    """How the source galaxies are shared out among the splits, always by galaxy."""

    fractions: dict[Literal["train", "validation", "test"], Fraction] = Field(
        {"train": 0.7, "validation": 0.15, "test": 0.15}, description="Share of the galaxies in each split; they add up to 1"
    )
    assigned: dict[Literal["train", "validation", "test"], tuple[GalaxyId, ...]] = Field(
        {}, description="Galaxies put into a split by name, as plate-ifu; the rest follow the fractions"
    )
    tolerance: Fraction = Field(
        0.15, description="Largest allowed difference between realised and asked share of the galaxies that follow the fractions"
    )

    @model_validator(mode="after")
    def _check(self) -> SplitFractions:
        check_adds_up("split fractions", self.fractions)
        seen: dict[str, str] = {}
        for split, names in self.assigned.items():
            for name in names:
                if name in seen:
                    raise ValueError(f"galaxy {name} is named twice: in split {seen[name]} and in split {split}")
                seen[name] = split
        return self


#: Kinds that need a sample, and the others, in words.
_FROM_SAMPLE, _ELSE = (" and ".join(name for name, kind in MOVING.items() if (kind.needs == "sample") == needs) for needs in (True, False))


class Sources(Mixed):
    """What is lensed."""

    sample: Name | None = Field(
        "dr17", description="Sample under `manga.samples` whose bank gives the galaxies; null for analytic disks alone"
    )
    mix: dict[Literal[tuple(MOVING)], Fraction] = Field(
        {"manga": 0.4, "disk": 0.4, "hybrid": 0.2}, description="Share of each source kind; the shares add up to 1"
    )
    redshift: AboveZero = Field(draw(1.5), description="Source redshift z_s")
    offset_arcsec: NonNegative = Field(
        draw({"uniform": [0.0, 0.25]}), description="Distance of the source's centre from the lens axis [arcsec]"
    )
    scale: AboveZero = Field(
        draw({"uniform": [0.35, 0.7]}),
        description="Factor on the physical size of a MaNGA galaxy when it is moved to z_s (galaxies were smaller then)",
    )
    augment: bool = Field(True, description="Rotate MaNGA sources by any angle and reflect half of them, all channels alike")

    @model_validator(mode="after")
    def _check(self) -> Sources:
        check_adds_up("source shares", self.mix)
        if self.sample is None and self.galaxy_kinds:
            raise ValueError(f"{_FROM_SAMPLE} sources need a sample: name one of `manga.samples`, or set the mix to {_ELSE} alone")
        return self

    @property
    def galaxy_kinds(self) -> list[str]:
        """Kinds with a share above 0 that are made from galaxies of the sample."""
        return self.used(MOVING, "sample")


Sources = with_sections(Sources, MOVING)


class Lens(Section):
    """The smooth lens, the same population in both classes."""

    profile: Literal[tuple(MAIN)] = Field("epl", description="Mass profile of the main lens")
    redshift: AboveZero = Field(draw(0.3), description="Lens redshift z_l")
    theta_e_arcsec: AboveZero = Field(draw({"uniform": [0.8, 1.2]}), description="Einstein radius [arcsec]")
    ellipticity: Annotated[Distribution, AfterValidator(within(0, 0.7))] = Field(
        draw({"uniform": [0.0, 0.3]}), description="Ellipticity (1 − q)/(1 + q); unused by sis"
    )
    slope: Annotated[Distribution, AfterValidator(within(1.4, 2.6))] = Field(
        draw({"normal": [2.0, 0.1, 1.7, 2.3]}), description="Slope γ of the density, ρ ∝ r^−γ; 2 is isothermal; used by epl alone"
    )
    shear: Annotated[Distribution, AfterValidator(within(0, 0.3))] = Field(
        draw({"uniform": [0.0, 0.06]}), description="Strength of the external shear"
    )
    multipole_m3: Annotated[Distribution, AfterValidator(within(0, 0.1))] = Field(
        draw({"uniform": [0.0, 0.01]}), description="Amplitude a₃/a of the m = 3 multipole, relative to θ_E, in both classes"
    )
    multipole_m4: Annotated[Distribution, AfterValidator(within(0, 0.1))] = Field(
        draw({"uniform": [0.0, 0.01]}), description="Amplitude a₄/a of the m = 4 multipole, relative to θ_E, in both classes"
    )
    centre_offset_arcsec: NonNegative = Field(
        draw({"uniform": [0.0, 0.05]}), description="Distance of the lens from the stamp's centre [arcsec]"
    )

    @property
    def varies(self) -> bool:
        """Whether lenses differ from one another; ellipticity, shear, multipoles and offset do where they are not zero, by their directions."""
        used = ("theta_e_arcsec", "shear", "multipole_m3", "multipole_m4", "centre_offset_arcsec", *MAIN[self.profile])
        bounds = {key: getattr(self, key).bounds for key in used}
        return any(low != high if key in ("theta_e_arcsec", "slope") else high > 0 for key, (low, high) in bounds.items())


class Subhalo(Section):
    """The dark subhalo of the positives, and the phantom of the controls."""

    profiles: dict[Literal[tuple(SUBHALO)], Fraction] = Field(
        {"sis": 0.5, "nfw": 0.5}, description="Share of each profile; the shares add up to 1"
    )
    theta_e_factor: AboveZero = Field(draw(0.03), description="Einstein radius of an SIS subhalo over that of the lens")
    log10_mass_msun: tuple[tuple[float, float], ...] = Field(
        ((9.0, 9.5), (9.5, 10.0)), description="Bins of log₁₀ M200/M☉ for nfw and tnfw, equally likely, uniform inside", min_length=1
    )
    concentration: AboveZero = Field(draw({"normal": [15.0, 3.0, 8.0, 25.0]}), description="Concentration c200 for nfw and tnfw")
    truncation: AboveZero = Field(draw({"uniform": [3.0, 10.0]}), description="Truncation radius over the scale radius, for tnfw")
    placement: Literal["arc", "annulus", "critical"] = Field(
        "arc",
        description="Where it sits: on the lensed light, weighted by surface brightness; at `annulus` times θ_E; within `critical_band_arcsec` of the critical curve",
    )
    annulus: tuple[Positive, Positive] = Field((0.9, 1.3), description="Bounds of the annulus over θ_E")
    critical_band_arcsec: Positive = Field(0.2, description="Half width of the band around the critical curve [arcsec]")

    @model_validator(mode="after")
    def _check(self) -> Subhalo:
        check_adds_up("subhalo profile shares", self.profiles)
        for low, high in self.log10_mass_msun:
            if not 4 <= low <= high <= 13:
                raise ValueError(f"mass bin [{low:g}, {high:g}] is not an increasing pair of log10 masses between 4 and 13")
        if self.annulus[0] >= self.annulus[1]:
            raise ValueError(f"annulus bounds are in the wrong order: {list(self.annulus)}")
        return self


class Population(Section):
    """Background clumps of every lens, positives and controls alike: they are part of what a subhalo must be told from."""

    density: float = Field(
        0.0, ge=0, description="Clumps per dex of mass at 10⁸ M☉ and arcsec², dN/d log₁₀M ∝ M^(slope + 1); 0 for no clumps"
    )
    slope: float = Field(-1.9, ge=-4, le=1, description="Slope of the mass function dN/dM ∝ M^slope")
    mass_msun: tuple[Positive, Positive] = Field((1e7, 1e9), description="Bounds of M200 [M☉]")
    radius: Positive = Field(2.0, description="Clumps lie within this many θ_E of the lens, uniform in area")
    profile: Literal[tuple(drawing("log10_mass_msun"))] = Field(
        "tnfw", description="Their profile, with concentration and truncation drawn as those of `subhalo`"
    )

    @model_validator(mode="after")
    def _check(self) -> Population:
        if not 1e4 <= self.mass_msun[0] < self.mass_msun[1] <= 1e13:
            raise ValueError(f"mass bounds {list(self.mass_msun)} of the population are not an increasing pair between 1e4 and 1e13 M☉")
        return self


class Psf(Section):
    """The point spread function."""

    kind: Literal["none", "gaussian", "moffat", "kernel"] = Field("gaussian", description="Shape of the PSF; `kernel` reads a pixel kernel")
    fwhm_arcsec: float = Field(0.12, ge=0, description="Full width at half maximum, for gaussian and moffat [arcsec]")
    beta: float = Field(3.5, gt=1, description="Moffat slope β")
    kernel: FilePath | None = Field(None, description="Path of a .npy or FITS image at the stamp's pixel scale, odd sides, for kind kernel")

    @model_validator(mode="after")
    def _check(self) -> Psf:
        if self.kind == "kernel" and not self.kernel:
            raise ValueError("psf kind `kernel` needs the path of a kernel in `kernel`")
        if self.kind in ("gaussian", "moffat") and self.fwhm_arcsec <= 0:
            raise ValueError(f"psf kind `{self.kind}` needs a positive `fwhm_arcsec`")
        return self


class Noise(Section):
    """Noise of both channels, set by the peak signal-to-noise of the smooth lens' image."""

    peak_snr: AboveZero = Field(
        draw({"log_uniform": [10, 30]}),
        description="Signal-to-noise of a pixel of unit flux, about the peak of the smooth lens' image (`smooth_peak`)",
    )
    flux: bool = Field(True, description="Whether noise is added to the flux")
    background_share: Fraction = Field(
        0.5, description="Share of the variance of a pixel of unit flux that is background; the rest is Poisson"
    )
    velocity: bool = Field(True, description="Whether noise is added to the velocity")
    line_fwhm_kms: Positive = Field(120.0, description="Full width of the line: σ_v = FWHM/(2.355 S/N) [km/s]")
    velocity_floor_kms: float = Field(5.0, ge=0, description="Smallest velocity error [km/s]")
    velocity_min_snr: float = Field(
        3.0,
        ge=0,
        description="A velocity exists where the flux has at least this S/N in its pixel, or in its block where `velocity_block` is above 1",
    )


class Instrument(Section):
    """How the lensed sky becomes a stamp."""

    stamp_size: int = Field(48, ge=16, le=512, description="Pixels on a side of the stamp")
    pixel_scale_arcsec: Positive = Field(0.08, description="Pixel size [arcsec]")
    psf: Psf = Field(Psf(), description="Point spread function")
    noise: Noise = Field(Noise(), description="Noise of flux and velocity")
    smooth_peak: AboveZero = Field(
        draw({"uniform": [0.7, 1.3]}),
        description="Peak of the smooth lens' image in the unit of flux; drawn from a range, because a known peak would show a subhalo that brightens it",
    )
    velocity_block: int = Field(
        1, ge=1, le=16, description="Side of the block of pixels that shares one velocity, averaged in flux-weighted moments"
    )
    mask: Literal["smooth", "observed"] = Field(
        "smooth",
        description="What the velocity mask and σ_v map are cut from: `smooth`, the noiseless image of the lens without subhalo in both classes, which cannot know the label; `observed`, the noisy flux. Networks that see the flux always read the observed ones",
    )

    @model_validator(mode="after")
    def _check(self) -> Instrument:
        if self.psf.kind in ("gaussian", "moffat"):
            pixels = self.psf.fwhm_arcsec / self.pixel_scale_arcsec
            if pixels < MIN_PIXELS_PER_FWHM:
                raise ValueError(
                    f"pixel_scale_arcsec {self.pixel_scale_arcsec:g} cannot sample a PSF of FWHM {self.psf.fwhm_arcsec:g} arcsec: "
                    f"{pixels:.2f} pixels per FWHM, at least {MIN_PIXELS_PER_FWHM:g} needed; use smaller pixels or `psf.kind: none`"
                )
        if self.stamp_size % self.velocity_block:
            raise ValueError(f"velocity_block {self.velocity_block} does not divide stamp_size {self.stamp_size}")
        return self


class Rendering(Section):
    """How stamps are computed; nothing here is physics."""

    renderer: Literal["torch", "lenstronomy"] = Field("torch", description="Rendering engine; lenstronomy is the slow reference")
    accuracy: float = Field(
        1e-3,
        ge=1e-4,
        le=0.1,
        description="Largest error of a pixel over the stamp's peak, behind the PSF and before noise, of renderer torch",
    )
    supersampling: int = Field(
        4, ge=1, le=24, description="Rays on a side of each pixel, of renderer lenstronomy and the marginal observer"
    )
    batch_size: int = Field(64, ge=1, description="Stamps computed at a time; changes memory, never a stamp")


class Size(Section):
    """Stamps in each split."""

    train: int = Field(20000, ge=0, description="Training stamps")
    validation: int = Field(4000, ge=0, description="Validation stamps")
    test: int = Field(20000, ge=0, description="Test stamps")

    @model_validator(mode="after")
    def _check(self) -> Size:
        if self.train + self.validation + self.test == 0:
            raise ValueError("a dataset needs at least one stamp: every split is 0")
        for split in SPLITS:
            if getattr(self, split) % 2:
                raise ValueError(f"{split} is {getattr(self, split)}: give an even number, half positives and half controls")
        return self


class SubhaloDataset(Section):
    """Stamps of lensed galaxies in flux and velocity."""

    kind: Literal["subhalo"] = Field("subhalo", description="Which chain makes the dataset")
    description: str = Field("", description="One sentence for the report")
    seed: int = Field(1, ge=0, lt=2**32, description="Seed of everything random in the dataset")
    contrast: Literal["subhalo", "lensed", "kinematics"] = Field(
        "subhalo",
        description="What tells positives from controls: a subhalo; being lensed at all (milestone 1); a subhalo that acts on the velocity alone, with the same flux (kinematics-only control)",
    )
    size: Size = Field(Size(), description="Stamps per split")
    shard_size: int = Field(10_000, ge=2, description="Stamps in one Parquet file and one job; a job should last minutes")
    pairs: bool = Field(
        False,
        description="Whether what each training stamp shows without noise, with and without its subhalo, is rendered too and kept, for networks with `training.pairs`",
    )
    splits: SplitFractions = Field(SplitFractions(), description="How galaxies are shared out")
    sources: Sources = Field(Sources(), description="What is lensed")
    lens: Lens = Field(Lens(), description="The smooth lens")
    subhalo: Subhalo = Field(Subhalo(), description="The subhalo")
    population: Population = Field(Population(), description="Background clumps of both classes")
    instrument: Instrument = Field(Instrument(), description="From lensed sky to stamp")
    rendering: Rendering = Field(Rendering(), description="How stamps are computed")

    @model_validator(mode="after")
    def _check(self) -> SubhaloDataset:
        check_rings_fit(self.lens.theta_e_arcsec, self.instrument.stamp_size * self.instrument.pixel_scale_arcsec)
        if self.pairs and self.contrast == "lensed":
            raise ValueError("pairs show one lens with and without a subhalo, but contrast is `lensed`: leave out pairs")
        if self.lens.redshift.bounds[1] >= self.sources.redshift.bounds[0]:
            raise ValueError(
                f"a lens at redshift {self.lens.redshift.bounds[1]:g} is not in front of a source at {self.sources.redshift.bounds[0]:g}"
            )
        return self

    def shards(self, split: str) -> int:
        """Return the number of shards of a split."""
        return math.ceil(getattr(self.size, split) / self.shard_size)
