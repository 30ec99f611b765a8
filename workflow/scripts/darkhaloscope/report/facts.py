"""What a dataset is made of, in pairs of name and text, and how many stamps of which kind it holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..config.lenses import drawing
from ..config.lensfinder import PIXEL_SCALE_ARCSEC, ImportedDataset, LensFinderDataset
from ..config.subhalo import SubhaloDataset
from ..evaluation.tidy import count, is_number
from .context import Dataset, Gate
from .frames import column_name
from .grids import Cell, Grid, number_cell, plain_grid

Facts = list[tuple[str, str]]
#: What the checks of a dataset count per split, and what it is called.
_COUNTS = {
    "stamps": "Stamps",
    "positives": "Positives",
    "usable": "With an image",
    "galaxies": "Source galaxies",
    "hosts": "Galaxies",
    "regions": "Sky regions",
    "bricks": "Bricks",
    "sources": "Source galaxies",
    "resolved": "Resolved lenses",
    "source_kinds": "Sources",
    "contaminants": "Known contaminants",
    "bytes": "MB",
}
#: Statistics of a column's distribution, as they stand in its table.
_DISTRIBUTION = ("count", "missing", "mean", "sd", "min", "p5", "p25", "p50", "p75", "p95", "max")
#: Shares of the arcs above some levels of S/N.
_ABOVE = "arc_snr_above_"


def dataset_facts(dataset: Dataset, bands: Sequence[str] = ()) -> Facts:
    """Return what a dataset is made of; `bands` are those of its stamps, where they are known."""
    if isinstance(dataset, SubhaloDataset):
        return _subhalo_facts(dataset)
    if isinstance(dataset, ImportedDataset):
        return [("table", dataset.table), ("stamp", _stamp(dataset.stamp_size, PIXEL_SCALE_ARCSEC) + " in g, r, z")]
    return _lensfinder_facts(dataset, bands)


def dataset_counts(splits: Mapping[str, Mapping[str, Any]], size: Any = None) -> Grid:
    """Return what the checks counted, a column for each split; where nothing was counted, the stamps that `size` asks for."""
    if not splits:
        asked = ("train", "validation", "test") if size is not None else ()
        return Grid(("In each split", *asked), (("Stamps asked for", *(count(getattr(size, s)) for s in asked)),) if asked else ())
    first = next(iter(splits.values()))
    called = {k: name for k, name in _COUNTS.items() if k in first}
    called |= {k: f"Arcs with S/N above {k.removeprefix(_ABOVE)}" for k in first if k.startswith(_ABOVE)}
    return Grid(
        ("In each split", *splits), tuple((name, *(_counted(k, split[k]) for split in splits.values())) for k, name in called.items())
    )


def distributions(found: list[dict]) -> Grid | None:
    """Return what the stamps' columns hold per split and class, as a table to choose from; None where it was not measured."""
    if not found:
        return None
    statistics = [k for k in _DISTRIBUTION if any(k in row for row in found)]
    rows = []
    for row in found:
        words = {0: "controls", 1: "positives"}.get(row.get("label"), str(row.get("label")))
        cells = [number_cell(row.get(k), f"{row[k]:.4g}" if is_number(row.get(k)) else None) for k in statistics]
        rows.append((str(row.get("split")), words, column_name(str(row.get("column"))), *cells))
    heads = ("Split", "Class", "Column", *statistics)
    start = {"Split": "test" if any(row[0] == "test" for row in rows) else rows[0][0], "Class": "positives"}
    return Grid(heads, tuple(rows), "distribution-table", ("Split", "Class", "Column"), start)


def checks_table(gates: Iterable[Gate]) -> Grid:
    """Return gates with what was asked and found."""
    words = {True: "passed", False: "FAILED", None: "undecided"}
    return plain_grid(("Check", "Outcome", "Asked", "Found"), [(g.name, words[g.passed], g.limit, g.found) for g in gates])


def _counted(key: str, value: Any) -> Cell:
    if isinstance(value, Mapping):
        return ", ".join(f"{count(n)} {kind}" for kind, n in value.items()) or "–"
    if key == "resolved" or key.startswith(_ABOVE):
        return number_cell(value, f"{100 * value:.0f}%" if is_number(value) else "–")
    return (value, f"{value / 1e6:.1f}") if key == "bytes" else (value, count(value))


def _subhalo_facts(dataset: SubhaloDataset) -> Facts:
    lens, subhalo, instrument, noise = dataset.lens, dataset.subhalo, dataset.instrument, dataset.instrument.noise
    psf = {"none": "none", "kernel": "pixel kernel"}.get(
        instrument.psf.kind, f"{instrument.psf.kind}, FWHM {instrument.psf.fwhm_arcsec:g}″"
    )
    places = {"arc": "on the arc, by brightness", "annulus": "annulus about θ_E", "critical": "near the critical curve"}
    speed = f"σ_v = {noise.line_fwhm_kms:g}/(2.355 S/N), at least {noise.velocity_floor_kms:g} km/s"
    sample = f", galaxies of sample {dataset.sources.sample}" if dataset.sources.sample else ""
    bins = ", ".join(f"{a:g}–{b:g}" for a, b in subhalo.log10_mass_msun)
    shared = [kind for kind, share in subhalo.profiles.items() if share > 0]
    strengths = [f"{kind.upper()}: {_span(subhalo.theta_e_factor)} θ_E" for kind in shared if kind in drawing("theta_e_factor")]
    strengths += [f"log₁₀ M/M☉: {bins}"] if set(shared) & set(drawing("log10_mass_msun")) else []
    masks = {"smooth": "the smooth lens, so that it cannot know the label (“label-blind”)", "observed": "the observed flux"}
    facts = [
        ("sources", _mix(dataset.sources.mix) + sample),
        ("stamp", _stamp(instrument.stamp_size, instrument.pixel_scale_arcsec)),
        ("PSF", psf),
        ("peak S/N", _span(noise.peak_snr) if noise.flux else "no noise on flux"),
        ("velocity noise", speed if noise.velocity else "none"),
        ("velocity mask from", masks[instrument.mask]),
        ("lens", f"{lens.profile.upper()} + shear, θ_E {_span(lens.theta_e_arcsec)}″, z {_span(lens.redshift)}"),
        ("source redshift", _span(dataset.sources.redshift)),
    ]
    if dataset.contrast != "lensed":
        profiles = ", ".join(f"{100 * subhalo.profiles[kind]:g}% {kind.upper()}" for kind in shared)
        facts += [("subhalos", profiles), ("subhalo strength", " · ".join(strengths)), ("placement", places[subhalo.placement])]
    return facts


def _lensfinder_facts(dataset: LensFinderDataset, bands: Sequence[str]) -> Facts:
    priors, camera, hosts = dataset.injection, dataset.camera, dataset.hosts
    gain = ", ".join(f"{v:g} in {b}" for b, v in camera.electrons_per_nanomaggy.items())
    shape = {"moffat": f"Moffat, β = {camera.beta:g}", "gaussian": "Gaussian"}[camera.psf]
    controls = {"unpaired": "other galaxies, matched in PSF, depth and magnitude", "paired": "the same galaxies without an arc"}
    return [
        ("survey", dataset.sky_survey or f"cutouts of {dataset.hosts.cutouts.path}"),
        ("stamp", _stamp(camera.stamp_size, PIXEL_SCALE_ARCSEC) + (f" in {', '.join(bands)}" if bands else "")),
        ("hosts", f"{_hosts(dataset)}, psfsize in r {hosts.psfsize_r_arcsec[0]:g}–{hosts.psfsize_r_arcsec[1]:g}″"),
        ("injections per host", str(hosts.replicates)),
        ("controls", controls[dataset.controls]),
        ("sources", _mix(dataset.sources.mix)),
        ("θ_E", f"{_span(priors.theta_e_arcsec)}″"),
        ("source fainter than host by", f"{_span(priors.src_dmag)} mag, unlensed, in r"),
        ("lens", f"SIE + shear, ellipticity {_span(priors.lens_e)}, shear {_span(priors.shear)}"),
        ("PSF of the arcs", f"{shape}, FWHM from psfsize"),
        ("arcs' own noise", f"Poisson, electrons per nanomaggy {gain} (assumed)" if camera.poisson else "none"),
    ]


def _hosts(dataset: LensFinderDataset) -> str:
    cutouts = dataset.hosts.cutouts
    if cutouts is None:
        return "luminous red galaxies"
    instead = "".join(f", {other} in place of {band}" for band, other in cutouts.stand_in.items())
    return f"real cutouts in {', '.join(cutouts.bands)}{instead}"


def _mix(mix: Mapping[str, float]) -> str:
    return ", ".join(f"{100 * share:g}% {kind}" for kind, share in mix.items() if share > 0)


def _stamp(size: int, pixel_arcsec: float) -> str:
    return f"{size} × {size} pixels of {pixel_arcsec:g}″"


def _span(distribution: Any) -> str:
    low, high = distribution.bounds
    return f"{low:g}" if low == high else f"{low:g}–{high:g}"
