"""A lens-finder dataset: hosts of a sky survey, sources lensed into their cutouts, splits, gates; or stamps made elsewhere."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from .base import AboveZero, Distribution, FilePath, Fraction, Name, NonNegative, Positive, Section, draw, within
from .cutouts import HostCutouts, RealSky
from .legacysurvey import BANDS, PIXEL_SCALE_ARCSEC
from .sources import STILL, Mixed, with_sections
from .subhalo import SPLITS, Size, check_adds_up, check_rings_fit


class SkySplits(Section):
    """How the sky is shared out among the splits: whole HEALPix regions (of the survey's `nside`), and with them every host."""

    fractions: dict[Literal["train", "validation", "test"], Fraction] = Field(
        {"train": 0.7, "validation": 0.15, "test": 0.15},
        description="Share of the hosts in each split, and of the source galaxies; they add up to 1",
    )
    tolerance: Fraction = Field(
        0.05, description="Largest allowed difference between realised and asked share of the hosts, and of the source galaxies"
    )

    @model_validator(mode="after")
    def _check(self) -> SkySplits:
        check_adds_up("split fractions", self.fractions)
        return self


class Hosts(Section):
    """Which galaxies of the parent sample serve, and how often."""

    psfsize_r_arcsec: tuple[Positive, Positive] = Field((0.9, 1.6), description="Bounds of psfsize in r [arcsec]")
    replicates: int = Field(1, ge=1, le=10000, description="Injections into each positive host, each with its own parameters and control")
    veto_known_lenses: bool = Field(True, description="Whether known lenses are left out, as positives' hosts and as controls")
    match_bins: tuple[int, int, int] = Field(
        (4, 4, 4),
        description="Quantile bins of psfsize, psfdepth and magnitude in r; positives and their controls come from the same bin",
    )
    cutouts: HostCutouts | None = Field(
        None,
        description="Real cutouts of any survey as hosts and controls, in place of the galaxies of `survey`: those that labels call lenses, or may be ones, serve only without veto_known_lenses",
    )

    @model_validator(mode="after")
    def _check(self) -> Hosts:
        if self.psfsize_r_arcsec[0] >= self.psfsize_r_arcsec[1]:
            raise ValueError(f"psfsize_r_arcsec bounds are in the wrong order: {list(self.psfsize_r_arcsec)}")
        if not all(1 <= n <= 50 for n in self.match_bins):
            raise ValueError(f"match_bins must lie between 1 and 50, found {list(self.match_bins)}")
        return self


class Injection(Section):
    """Priors of lens and source: a preset by name (v3, v4, gen5, gen6), or a distribution per parameter.

    The product of all `choice` parameters is a grid: it is walked whole, in random order, before any of its
    cells comes again. The other parameters are drawn independently.
    """

    theta_e_arcsec: AboveZero = Field(draw({"uniform": [0.5, 2.5]}), description="Einstein radius [arcsec]")
    src_dmag: Distribution = Field(
        draw({"uniform": [1.0, 3.0]}),
        description="Magnitude of the unlensed source less that of the host, in r as observed [mag]; gen5 did not state its own: this one gives arcs of S/N as the reference run had",
    )
    src_reff_arcsec: AboveZero = Field(
        draw({"log_uniform": [0.1, 0.6]}),
        description="Half-light radius of sersic and manga sources [arcsec]; cosmos galaxies keep their own",
    )
    src_e: Annotated[Distribution, AfterValidator(within(0, 0.8))] = Field(
        draw({"uniform": [0.0, 0.4]}), description="Ellipticity (1 − q)/(1 + q) of sersic sources"
    )
    src_n: Annotated[Distribution, AfterValidator(within(0.5, 6))] = Field(draw(1.0), description="Sérsic index of sersic sources")
    src_offset: NonNegative = Field(
        draw({"uniform": [0.0, 0.5]}),
        description="Distance of the source from the lens axis, over θ_E (an assumption; grids did not state theirs)",
    )
    lens_e: Annotated[Distribution, AfterValidator(within(0, 0.7))] = Field(
        draw({"uniform": [0.0, 0.5]}), description="Ellipticity (1 − q)/(1 + q) of the lens"
    )
    shear: Annotated[Distribution, AfterValidator(within(0, 0.3))] = Field(
        draw({"uniform": [0.0, 0.05]}), description="Strength of the external shear"
    )
    src_gr: Distribution = Field(
        draw({"normal": [0.35, 0.3, -0.4, 1.4]}),
        description="Observed colour g − r of the source: a prior, no source image has colours [mag]",
    )
    src_rz: Distribution = Field(draw({"normal": [0.35, 0.3, -0.4, 1.4]}), description="Observed colour r − z of the source: a prior [mag]")

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        if isinstance(value, str):
            if value not in INJECTIONS:
                raise ValueError(
                    f"there is no injection preset `{value}` (known: {', '.join(INJECTIONS)}); name one, or give distributions"
                )
            return INJECTIONS[value]
        return value


#: Injection priors of earlier generations (science notes). Their grids' `e` is the source's ellipticity.
INJECTIONS: dict[str, dict[str, Any]] = {
    "v3": {
        "theta_e_arcsec": {"choice": [0.3, 0.6, 1.0]},
        "src_dmag": {"choice": [1.0, 2.0]},
        "src_reff_arcsec": {"choice": [0.08, 0.15]},
        "src_e": {"choice": [0.0, 0.3]},
        "shear": {"choice": [0.0, 0.03]},
        "src_n": 1.0,
        "lens_e": 0.0,
    },
    "v4": {
        "theta_e_arcsec": {"choice": [0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5]},
        "src_dmag": {"choice": [0.5, 1.0, 1.5, 2.0]},
        "src_reff_arcsec": {"choice": [0.05, 0.1, 0.2]},
        "src_e": {"choice": [0.0, 0.2, 0.4]},
        "shear": {"choice": [0.0, 0.03]},
        "src_n": 1.0,
        "lens_e": 0.0,
    },
    "gen5": {
        "theta_e_arcsec": {"uniform": [0.5, 2.5]},
        "src_dmag": {"uniform": [1.0, 3.0]},
        "lens_e": {"uniform": [0.0, 0.5]},
        "shear": {"uniform": [0.0, 0.05]},
    },
    # Lenses as searches of real skies find them: to the 5″ of groups, sources 1.5 to 4.5 mag fainter than the galaxy before lensing.
    "gen6": {
        "theta_e_arcsec": {"log_uniform": [0.6, 5.0]},
        "src_dmag": {"uniform": [1.5, 4.5]},
        "lens_e": {"uniform": [0.0, 0.5]},
        "shear": {"uniform": [0.0, 0.1]},
    },
}


class InjectedSources(Mixed):
    """What is lensed into the cutouts. One morphology in all bands, scaled to each band's flux."""

    mix: dict[Literal[tuple(STILL)], Fraction] = Field({"cosmos": 1.0}, description="Share of each source kind; the shares add up to 1")
    sample: Name | None = Field(None, description="Sample under `manga.samples` whose Hα maps are manga sources")

    @model_validator(mode="after")
    def _check(self) -> InjectedSources:
        check_adds_up("source shares", self.mix)
        if self.sample is None and self.galaxy_kinds:
            raise ValueError(f"{' and '.join(self.galaxy_kinds)} sources need a sample: name one of `manga.samples`")
        return self

    @property
    def galaxy_kinds(self) -> list[str]:
        """Kinds with a share above 0 that are made from galaxies of the sample."""
        return self.used(STILL, "sample")


InjectedSources = with_sections(InjectedSources, STILL)


class Camera(Section):
    """From lensed sky to pixels of the cutout."""

    stamp_size: int = Field(64, ge=16, le=256, description="Pixels on a side of the stamp")
    psf: Literal["moffat", "gaussian"] = Field("moffat", description="Shape of the PSF; its width is the FWHM that psfsize stands for")
    # Below 1.5 the Moffat profile of a psfsize has a core narrower than a pixel, and the kernel another noise-equivalent area.
    beta: float = Field(3.5, ge=1.5, description="Moffat slope β; ground-based PSFs have 2 to 5")
    poisson: bool = Field(True, description="Whether arcs bring their own Poisson noise; the sky's is in the cutout already")
    electrons_per_nanomaggy: dict[Literal["g", "r", "z"], Positive] = Field(
        {"g": 150.0, "r": 150.0, "z": 150.0}, description="Effective gain of the coadds: an assumption, since they give none [e⁻/nanomaggy]"
    )

    @model_validator(mode="after")
    def _check(self) -> Camera:
        missing = [b for b in BANDS if b not in self.electrons_per_nanomaggy]
        if missing:
            raise ValueError(f"electrons_per_nanomaggy lacks band {', '.join(missing)}: give all of {', '.join(BANDS)}")
        return self


class InjectionGates(Section):
    """Limits beyond which a dataset must not be trained on."""

    flux_closure: Positive = Field(1e-3, description="Largest relative error of a source's unlensed flux in its stamp")
    core_auc: Fraction = Field(0.76, description="Largest AUC of a logistic regression on the central pixels alone")
    core_pixels: int = Field(10, ge=1, le=400, description="Pixels nearest to the stamp's middle that it sees, in each band")
    core_theta_over_psf: float = Field(1.0, ge=0, description="Positives below this θ_E/PSF are left out of that regression")
    host_auc: Fraction = Field(
        0.03, description="Largest distance from 0.5 of the AUC of a logistic regression on core colour, magnitude and size of bare hosts"
    )
    min_cutout_ok: Fraction = Field(0.8, description="Smallest share of stamps with a good cutout")
    false_alarm: Positive = Field(
        1e-6, description="Chance that a faultless dataset fails the tests of PSF, depth and magnitude, over all of them"
    )


class InjectionRendering(Section):
    """How stamps are computed; nothing here is physics."""

    accuracy: Positive = Field(1e-3, description="Largest error of a pixel over the peak of the lensed image")
    batch_size: int = Field(128, ge=1, description="Stamps computed at a time; changes memory, never a stamp")


class LensFinderDataset(Section):
    """Stamps of a sky survey: cutouts of galaxies, half of them with a lensed source injected."""

    kind: Literal["lensfinder"] = Field("lensfinder", description="Which chain makes the dataset")
    description: str = Field("", description="One sentence for the report")
    seed: int = Field(1, ge=0, lt=2**32, description="Seed of everything random in the dataset")
    survey: Name = Field("dr10", description="Survey under `legacysurvey.surveys` whose parent sample gives the hosts")
    controls: Literal["unpaired", "paired"] = Field(
        "unpaired",
        description='Controls: other galaxies, matched in PSF, depth and magnitude; or the positives\' own cutouts without an arc (which lets a network learn "more flux")',
    )
    size: Size = Field(Size(train=200000, validation=20000, test=200000), description="Stamps per split")
    shard_size: int = Field(2000, ge=2, description="Stamps in one Parquet file and one job")
    splits: SkySplits = Field(SkySplits(), description="How sky, hosts and source galaxies are shared out")
    hosts: Hosts = Field(Hosts(), description="Which galaxies serve")
    injection: Injection = Field(Injection(), description="Priors of lens and source: v3, v4, gen5, gen6, or a section")
    sources: InjectedSources = Field(InjectedSources(), description="What is lensed")
    camera: Camera = Field(Camera(), description="From lensed sky to pixels")
    gates: InjectionGates = Field(InjectionGates(), description="Limits of the quality gates")
    rendering: InjectionRendering = Field(InjectionRendering(), description="How stamps are computed")
    real_sky: RealSky | None = Field(
        None, description="Real galaxies with labels that gates ask networks about, and that may join training; nothing by default"
    )

    @model_validator(mode="after")
    def _check(self) -> LensFinderDataset:
        check_rings_fit(self.injection.theta_e_arcsec, self.camera.stamp_size * PIXEL_SCALE_ARCSEC)
        if self.controls == "paired" and self.hosts.replicates > 1:
            raise ValueError(
                f"paired controls repeat the cutout of their positive: with {self.hosts.replicates} replicates one image would come "
                "several times; set hosts.replicates to 1, or controls to unpaired"
            )
        for split in SPLITS:
            if getattr(self.size, split) and not self.splits.fractions.get(split, 0.0):
                raise ValueError(f"{split} has {getattr(self.size, split)} stamps but no share of the sky in splits.fractions")
        return self

    @property
    def sky_survey(self) -> str | None:
        """The survey that hosts come from; none where they are cutouts."""
        return None if self.hosts.cutouts else self.survey

    def shards(self, split: str) -> int:
        """Return the number of shards of a split."""
        return math.ceil(getattr(self.size, split) / self.shard_size)


class ImportedDataset(Section):
    """Stamps made elsewhere, in the layout of this project's earlier tables, brought into its own."""

    kind: Literal["imported"] = Field("imported", description="Which chain makes the dataset")
    description: str = Field("", description="One sentence for the report")
    table: FilePath = Field(description="Path of the Parquet file, or of a folder of them, with a `stamp_npz` column")
    columns: dict[str, str] = Field({}, description="Names in that table of columns that it calls otherwise: ours → theirs")
    shard_counts: dict[Literal["train", "validation", "test"], int] = Field(
        {"train": 1, "validation": 1, "test": 1},
        description="Files that each split is cut into; 0 for a split that the table does not have",
    )
    positions: Literal["lens", "stamp"] = Field(
        "lens",
        description="What the table counts `src_x_arcsec` and `src_y_arcsec` from: the lens, the shear being about it; or the stamp's middle, the shear being about that: converted, with `host_x_arcsec` and `host_y_arcsec`",
    )
    stamp_size: int = Field(64, ge=16, le=256, description="Pixels on a side of the stamps")
    splits: SkySplits = Field(SkySplits(), description="Shares of the stamps that the splits should have")
    gates: InjectionGates = Field(InjectionGates(), description="Limits of the quality gates")

    @model_validator(mode="after")
    def _check(self) -> ImportedDataset:
        if any(n < 0 for n in self.shard_counts.values()) or not any(self.shard_counts.values()):
            raise ValueError(f"shard_counts must hold numbers of 0 or more, one of them above 0; found {dict(self.shard_counts)}")
        return self

    def shards(self, split: str) -> int:
        """Return the number of shards of a split."""
        return self.shard_counts.get(split, 0)


#: Datasets of the lens finder's table by the value of their `kind`.
LENS_KINDS: dict[str, type[LensFinderDataset] | type[ImportedDataset]] = {"lensfinder": LensFinderDataset, "imported": ImportedDataset}
