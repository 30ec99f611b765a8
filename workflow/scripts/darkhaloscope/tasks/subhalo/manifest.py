"""The rows of a subhalo dataset: every parameter that is drawn before anything is rendered.

Each row draws one block of uniform numbers from its own Philox stream, one slot per parameter, and
maps them through the parameters' distributions. So a parameter's value does not depend on how the
others are drawn, on the number of rows, or on the label: a control is drawn as a positive is, its
phantom subhalo included.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ...config.cosmology import Cosmology
from ...config.lenses import MAIN, drawing
from ...config.subhalo import FWHM_PER_SIGMA, SPLITS, Lens, Psf, Sources, SplitFractions, Subhalo, SubhaloDataset
from ...core.random import category, quantile, stable_hash, uniforms
from ...ifu.bank import read_bank
from ...lensing.lens import nfw_angles
from ...lensing.observe import psf_kernel
from ...sources.kinds import Draws
from ...sources.moving import KINDS, draw_sources
from ...stamps.columns import source_from_lens
from ...stamps.manifest import ManifestError, identity, piece_ranges
from ...stamps.shares import share_out, wrong_shares
from .schema import MANIFEST

log = logging.getLogger("darkhaloscope")

#: One uniform number per slot and row. New slots go to the end: the order is what keeps old draws.
SLOTS = (
    *("kind", "physical_id", "observation", "z_source", "offset", "offset_angle", "src_phi", "flip", "scale"),
    *("scale_radius", "turnover", "v_max", "inclination", "dispersion", "n_knots", "knot_fraction", "knot_radius"),
    *("bulge_fraction", "bulge_n", "bulge_radius", "bar", "radial_flow"),
    *("z_lens", "theta_e", "ellipticity", "lens_phi", "slope", "shear", "shear_phi", "m3", "m3_phi", "m4", "m4_phi"),
    *("centre", "centre_angle", "profile", "factor", "mass_bin", "mass", "concentration", "truncation"),
    *("placement_1", "placement_2", "placement_3", "peak_snr", "smooth_peak"),
)


def draw_manifest(name: str, dataset: SubhaloDataset, bank: pa.Table | None, cosmology: Cosmology) -> Iterator[pa.Table]:
    """Draw every parameter of every stamp of a dataset, piece by piece.

    Rows are ordered by split, then number. Labels alternate, so that each split holds as many positives
    as controls. Galaxies are shared out among the splits by galaxy.

    Parameters
    ----------
    name : str
        Name of the dataset; stamp ids begin with it.
    dataset : SubhaloDataset
    bank : pyarrow.Table or None
        Bank of MaNGA sources; None where the mix has disks alone.
    cosmology : Cosmology

    Yields
    ------
    pyarrow.Table
        Rows of the `MANIFEST` schema.

    Raises
    ------
    ManifestError
        The bank is missing, has too few galaxies for the splits, holds values that are not finite, or the
        realised shares of the splits differ from the asked ones by more than the tolerance.
    """
    galaxies = _Galaxies.from_bank(bank, dataset)
    fwhm = psf_fwhm_arcsec(dataset.instrument.psf, dataset.instrument.pixel_scale_arcsec)
    kinds: Counter[str] = Counter()
    for split, index in piece_ranges(dataset.size):
        piece = _rows(name, dataset, split, index, galaxies, fwhm, cosmology)
        kinds.update({found["values"]: found["counts"] for found in pc.value_counts(piece["source_kind"]).to_pylist()})
        yield piece
    _check_kinds(kinds, dataset.sources)


def draw(name: str, dataset: SubhaloDataset, files: Mapping[str, Sequence[str]], cosmology: Cosmology) -> Iterator[pa.Table]:
    """Draw the rows of a dataset from the inputs of rule build_manifest: `bank` where sources need one."""
    return draw_manifest(name, dataset, read_bank(files["bank"][0]) if files["bank"] else None, cosmology)


def build_manifest(name: str, dataset: SubhaloDataset, bank: pa.Table | None, cosmology: Cosmology) -> pa.Table:
    """Return the rows of `draw_manifest` as one table, for datasets that fit in memory."""
    return pa.concat_tables(draw_manifest(name, dataset, bank, cosmology)).combine_chunks()


def assign_splits(physical_ids: list[str], galaxy_ids: list[str], splits: SplitFractions) -> dict[str, str]:
    """Return the split of every galaxy.

    Galaxies in `splits.assigned` go where it says. The others are put in the order of a hash of their
    galaxy and cut by the asked fractions (largest remainder), at least one for each split with a fraction
    above 0 where there are enough. Nothing else decides, so that two datasets with one bank and one
    `splits` section, whatever their seeds and sizes, never train on what the other one tests on.

    Raises
    ------
    ManifestError
        An assigned galaxy is not in the bank, one galaxy is assigned to two splits, too few galaxies, or
        shares beyond the tolerance.
    """
    of_galaxy_id = dict(zip(galaxy_ids, physical_ids, strict=True))
    out: dict[str, str] = {}
    for split, names in splits.assigned.items():
        for galaxy_id in names:
            if galaxy_id not in of_galaxy_id:
                raise ManifestError(
                    f"splits.assigned puts {galaxy_id} into {split}, but the bank of sources does not have it (it has {', '.join(galaxy_ids)}): it was "
                    "rejected or is not in the sample; take it out of splits.assigned, or name it in galaxies.listed and, if rejected, in galaxies.use_rejected"
                )
            physical_id = of_galaxy_id[galaxy_id]
            if out.setdefault(physical_id, split) != split:
                raise ManifestError(
                    f"splits.assigned puts galaxy {physical_id} into {out[physical_id]} and, as {galaxy_id}, into {split}: "
                    "all observations of one galaxy must be in one split"
                )
    rest = sorted(set(physical_ids) - set(out), key=lambda m: (stable_hash("split", m), m))
    cuts = share_out(len(rest), splits.fractions)
    out |= dict(zip(rest, itertools.chain.from_iterable([s] * cuts[s] for s in SPLITS), strict=True))
    _check_shares(rest, out, splits)
    return out


# --- galaxies ----------------------------------------------------------------------------------


class _Galaxies:
    """The bank's scalars, and for each split its galaxies by galaxy."""

    def __init__(self, scalars: dict[str, NDArray], by_split: dict[str, list[list[int]]]):
        self.scalars = scalars
        self.by_split = by_split

    @classmethod
    def from_bank(cls, bank: pa.Table | None, dataset: SubhaloDataset) -> _Galaxies | None:
        wanted = dataset.sources.galaxy_kinds
        if not wanted:
            return None
        if bank is None or bank.num_rows == 0:
            state = "there is no bank of sources" if bank is None else "the bank of sources is empty (every galaxy was rejected)"
            raise ManifestError(
                f"sources.mix asks for {' and '.join(wanted)} sources, but {state}: name a sample with usable galaxies in sources.sample, or set the mix to disk alone"
            )
        scalars = {k: np.asarray(bank.column(k).to_pylist()) for k in ("galaxy_id", "physical_id")}
        for key in ("pixel_scale_kpc", "half_light_radius_kpc", "inclination_rad", "v_peak_kms", "psf_fwhm_kpc"):
            scalars[key] = np.asarray(bank.column(key).to_numpy(zero_copy_only=False), float)
            bad = ~np.isfinite(scalars[key])
            if bad.any():
                raise ManifestError(
                    f"the bank's `{key}` is not finite for {', '.join(scalars['galaxy_id'][bad])}: leave these galaxies out, or build their source tensors again"
                )
        for kind, key in itertools.chain.from_iterable(itertools.product([k], KINDS[k].positive) for k in wanted):
            bad = scalars[key] <= 0
            if bad.any():
                raise ManifestError(
                    f"{kind} sources need a positive `{key}`, which the bank does not have for {', '.join(scalars['galaxy_id'][bad])}: leave these galaxies out"
                )
        split_of = assign_splits(list(scalars["physical_id"]), list(scalars["galaxy_id"]), dataset.splits)
        by_split: dict[str, list[list[int]]] = {split: [] for split in SPLITS}
        for physical_id in sorted(split_of):
            by_split[split_of[physical_id]].append(
                sorted(np.flatnonzero(scalars["physical_id"] == physical_id), key=lambda i: scalars["galaxy_id"][i])
            )
        for split in SPLITS:
            if getattr(dataset.size, split) and not by_split[split]:
                raise ManifestError(
                    f"split {split} has {getattr(dataset.size, split)} stamps but no galaxy for its {' and '.join(wanted)} sources: the bank has {len(split_of)} galaxies "
                    f"({', '.join(f'{sum(s == x for s in split_of.values())} in {x}' for x in SPLITS)}); use more galaxies, other fractions, or splits.assigned"
                )
        log.info("galaxies of the bank by galaxy: %s", ", ".join(f"{len(by_split[s])} in {s}" for s in SPLITS))
        return cls(scalars, by_split)

    def pick(self, split: str, physical_id: NDArray, observation: NDArray) -> dict[str, NDArray]:
        """Return columns of the bank: a galaxy, each equally likely, then one of its observations."""
        groups = self.by_split[split]
        chosen = (physical_id * len(groups)).astype(int)
        count = np.array([len(g) for g in groups])[chosen]
        start = np.concatenate([[0], np.cumsum([len(g) for g in groups])])[chosen]
        row = np.concatenate(groups)[start + (observation * count).astype(int)]
        return {key: values[row] for key, values in self.scalars.items()}


def _check_shares(rest: list[str], split_of: dict[str, str], splits: SplitFractions) -> None:
    found = Counter(split_of[m] for m in rest)
    for split in wrong_shares(found, splits.fractions, splits.tolerance):
        raise ManifestError(
            f"split {split} got {found[split] / len(rest):.2f} of the {len(rest)} galaxies that follow the fractions, "
            f"asked were {splits.fractions.get(split, 0.0):.2f} ± {splits.tolerance:g}: "
            "too few galaxies for these fractions; use more of them, other fractions, or a larger splits.tolerance"
        )


# --- rows --------------------------------------------------------------------------------------


def _rows(
    name: str,
    dataset: SubhaloDataset,
    split: str,
    index: NDArray[np.int64],
    galaxies: _Galaxies | None,
    fwhm: float,
    cosmology: Cosmology,
) -> pa.Table:
    named = identity(name, split, index, (index + 1) % 2, digits=8)
    draws = uniforms(dataset.seed, named["number"].to_numpy(), "manifest", len(SLOTS))
    u = {slot: draws[:, i] for i, slot in enumerate(SLOTS)}
    lens = _lens_columns(dataset.lens, u)
    source = _source_columns(dataset, galaxies, split, named["number"].to_numpy(), u, lens, cosmology)
    subhalo = _subhalo_columns(dataset.subhalo, u, lens["theta_e_arcsec"], lens["z_lens"], source["z_source"], cosmology)
    return MANIFEST.table(
        {
            **named,
            **source,
            **lens,
            **source_from_lens(lens, source["src_x_arcsec"], source["src_y_arcsec"]),
            **subhalo,
            "peak_snr": quantile(dataset.instrument.noise.peak_snr, u["peak_snr"]),
            "smooth_peak": quantile(dataset.instrument.smooth_peak, u["smooth_peak"]),
            "psf_fwhm_arcsec": np.full(len(index), fwhm),
            "theta_over_psf": lens["theta_e_arcsec"] / fwhm if fwhm else np.full(len(index), np.inf),
        }
    )


def _lens_columns(lens: Lens, u: dict[str, NDArray]) -> dict[str, NDArray]:
    zeros, turn = np.zeros_like(u["kind"]), 2 * np.pi
    offset = quantile(lens.centre_offset_arcsec, u["centre"])
    return {
        "lens_profile": [lens.profile] * len(zeros),
        "z_lens": quantile(lens.redshift, u["z_lens"]),
        "theta_e_arcsec": quantile(lens.theta_e_arcsec, u["theta_e"]),
        "lens_slope": quantile(lens.slope, u["slope"]) if "slope" in MAIN[lens.profile] else zeros + 2.0,
        "lens_e": quantile(lens.ellipticity, u["ellipticity"]) if "ellipticity" in MAIN[lens.profile] else zeros,
        "lens_phi_rad": np.pi * u["lens_phi"],
        "lens_x_arcsec": offset * np.cos(turn * u["centre_angle"]),
        "lens_y_arcsec": offset * np.sin(turn * u["centre_angle"]),
        "shear": quantile(lens.shear, u["shear"]),
        "shear_phi_rad": np.pi * u["shear_phi"],
        "multipole_m3": quantile(lens.multipole_m3, u["m3"]),
        "multipole_m3_phi_rad": turn / 3 * u["m3_phi"],
        "multipole_m4": quantile(lens.multipole_m4, u["m4"]),
        "multipole_m4_phi_rad": turn / 4 * u["m4_phi"],
    }


def _source_columns(
    dataset: SubhaloDataset,
    galaxies: _Galaxies | None,
    split: str,
    number: NDArray,
    u: dict[str, NDArray],
    lens: dict,
    cosmology: Cosmology,
) -> dict[str, object]:
    sources = dataset.sources
    z_source = quantile(sources.redshift, u["z_source"])
    offset, angle = quantile(sources.offset_arcsec, u["offset"]), 2 * np.pi * u["offset_angle"]
    galaxy = {} if galaxies is None else galaxies.pick(split, u["physical_id"], u["observation"])
    kind = category(sources.mix, u["kind"])
    return {
        "source_kind": kind,
        "z_source": z_source,
        "src_x_arcsec": lens["lens_x_arcsec"] + offset * np.cos(angle),
        "src_y_arcsec": lens["lens_y_arcsec"] + offset * np.sin(angle),
        **draw_sources(Draws(u, number, dataset.seed, sources, z_source, cosmology, galaxy), kind),
    }


def _subhalo_columns(
    subhalo: Subhalo, u: dict[str, NDArray], theta_e: NDArray, z_lens: NDArray, z_source: NDArray, cosmology: Cosmology
) -> dict[str, object]:
    profile = category(subhalo.profiles, u["profile"])
    lacks = {key: ~np.isin(profile, drawing(key)) for key in ("theta_e_factor", "log10_mass_msun", "concentration", "truncation")}
    massless = lacks["log10_mass_msun"]
    bins = np.asarray(subhalo.log10_mass_msun)
    chosen = (u["mass_bin"] * len(bins)).astype(int)
    mass = bins[chosen, 0] + (bins[chosen, 1] - bins[chosen, 0]) * u["mass"]
    concentration = quantile(subhalo.concentration, u["concentration"])
    rs, alpha_rs = np.full(mass.shape, np.nan), np.full(mass.shape, np.nan)
    if not massless.all():
        h = ~massless
        rs[h], alpha_rs[h] = nfw_angles(10 ** mass[h], concentration[h], z_lens[h], z_source[h], cosmology)
    return {
        "subhalo_profile": profile,
        "log10_mass_msun": _masked(mass, massless),
        "mass_bin": np.where(massless, profile, np.array([f"{low:g}-{high:g}" for low, high in bins])[chosen]),
        "concentration": _masked(concentration, lacks["concentration"]),
        "subhalo_theta_e_arcsec": _masked(theta_e * quantile(subhalo.theta_e_factor, u["factor"]), lacks["theta_e_factor"]),
        "subhalo_rs_arcsec": _masked(rs, massless),
        "subhalo_alpha_rs_arcsec": _masked(alpha_rs, massless),
        "subhalo_rt_arcsec": _masked(rs * quantile(subhalo.truncation, u["truncation"]), lacks["truncation"]),
        **{slot: u[slot] for slot in ("placement_1", "placement_2", "placement_3")},
    }


def psf_fwhm_arcsec(psf: Psf, pixel_scale_arcsec: float) -> float:
    """Return the PSF's full width at half maximum; for a pixel kernel, that of the Gaussian with its noise-equivalent area."""
    if psf.kind == "none":
        return 0.0
    if psf.kind != "kernel":
        return psf.fwhm_arcsec
    kernel = psf_kernel(psf, pixel_scale_arcsec).double().numpy()
    return FWHM_PER_SIGMA * pixel_scale_arcsec / math.sqrt(4 * math.pi * float((kernel**2).sum()))


def _masked(values: NDArray, missing: NDArray) -> pa.Array:
    return pa.array(values, mask=np.asarray(missing, bool))


def _check_kinds(kinds: Mapping[str, int], sources: Sources) -> None:
    """Raise where the realised mix of source kinds cannot be a draw from the asked one."""
    count = sum(kinds.values())
    for kind, share in sources.mix.items():
        found, sd = kinds.get(kind, 0) / count, math.sqrt(share * (1 - share) / count)
        if abs(found - share) > 6 * sd + 1e-9:
            raise ManifestError(
                f"{found:.3f} of the stamps have {kind} sources, asked were {share:.3f}: this is a fault of the drawing, please report it"
            )
