"""What the model-based detector makes of the stamp that a report shows first: where it suspects a subhalo, and what it would have seen."""

from __future__ import annotations

import os

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..config.cosmology import Cosmology
from ..core.tables import read_columns
from ..core.text import power_of_ten
from ..detectors.evidence.detect import Detector
from ..detectors.evidence.findings import read_observed
from ..detectors.evidence.scan import image_of
from ..detectors.evidence.sensitivity import least_mass, mapped_halos, mean_z
from .example_table import EVIDENCE, example_table
from .examples import PAIRS, strongest_first


def show_evidence(shard: str | os.PathLike, detector: Detector, cosmology: Cosmology) -> pa.Table:
    """Return maps of the stamps that `choose_examples` chooses: of the first of them that has light enough to be fitted.

    Parameters
    ----------
    shard : test stamps, images included
    detector : with the priors of the experiment's training dataset; it sees the stamp alone
    cosmology : Cosmology

    Returns
    -------
    pyarrow.Table
        As `example_table` gives it, no row where no stamp can be fitted: `flux`, `velocity` (NaN without one) as observed; `z` of the likelier
        profile from both channels; `limit`, the least log₁₀ M/M☉ that would pass the threshold; NaN where nothing was tried. `place` and
        `found` are pictures of two pixels: where the subhalo is, and where z is greatest, x and y in arcsec from the middle.
    """
    rows = read_columns(shard, ["stamp_id", "label", "source_kind", "d_prime_both", "subhalo_x_arcsec", "subhalo_y_arcsec"])
    positives = rows.filter(pc.equal(rows["label"], 1)).combine_chunks()
    observed = {stamp.name: stamp for stamp in read_observed(shard, detector.dataset.instrument.stamp_size)}
    for row in strongest_first(positives, PAIRS):
        truth = positives.slice(row, 1).to_pylist()[0]
        stamp = observed[str(truth["stamp_id"])]
        fitted = detector.fit([stamp])[0]
        if fitted is not None:
            break
    else:
        return example_table([])
    settings, shape = detector.settings.sensitivity, stamp.flux.shape
    z = fitted.scan(detector.profiles)["both"].z
    best = np.unravel_index(int(z.argmax()), z.shape)
    depth = mean_z(fitted, mapped_halos(detector, settings, cosmology), settings)["both"]
    limit = least_mass(depth, np.array(settings.log10_mass_msun), settings.threshold)
    found = fitted.where.x[best[1]], fitted.where.y[best[1]]
    away = float(np.hypot(found[0] - truth["subhalo_x_arcsec"], found[1] - truth["subhalo_y_arcsec"]))
    least = f"a halo of {power_of_ten(np.nanmin(limit))} M☉ would" if np.isfinite(limit).any() else "none of the mapped halos would"
    caption = (
        f"greatest z {z.max():.1f} ({_called(detector.profiles[best[0]].name)}), {away:.2f}″ from the subhalo; "
        f"at its best place {least} pass z = {settings.threshold:g}"
    )
    velocity = np.full(shape, np.nan) if stamp.mask is None else np.where(stamp.mask > 0, stamp.velocity, np.nan)
    pictures = {
        "flux": stamp.flux,
        "velocity": velocity,
        "z": image_of(fitted.where, z[best[0]], shape),
        "limit": image_of(fitted.where, limit, shape),
        "place": np.array([[truth["subhalo_x_arcsec"], truth["subhalo_y_arcsec"]]]),
        "found": np.array([found]),
    }
    return example_table([(EVIDENCE, 0, caption, name, pixels) for name, pixels in pictures.items()])


def _called(profile: str) -> str:
    """Return a profile's name as it is written: SIS, NFW."""
    first, _, rest = profile.partition(" ")
    return f"{first.upper()} {rest}".strip()
