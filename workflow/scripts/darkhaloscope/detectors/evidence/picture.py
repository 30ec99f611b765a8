"""A stamp, where a subhalo is suspected in it, and what would have been seen: one picture.

    python -m darkhaloscope.detectors.evidence.picture results/reference/datasets/informative/stamps/test/00000.parquet 8 picture.png

draws the ninth stamp of a shard of a dataset with default physics (`--dataset FILE.json`, its section of the config, for another one).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from ...config.cosmology import Cosmology
from ...config.evidence import Evidence
from ...config.subhalo import SubhaloDataset
from ...core.tables import Column, Schema, read_table
from .detect import Detector, Fitted, Stamp
from .findings import read_observed
from .scan import image_of
from .sensitivity import least_mass, mapped_halos, mean_z


def draw(detector: Detector, stamp: Stamp, path: Path, cosmology: Cosmology, truth: tuple[float, float, bool] | None = None) -> Fitted:
    """Draw flux, velocity, z of the likelier profile from both channels, and the least detectable mass; return the fit.

    Parameters
    ----------
    detector : Detector
    stamp : Stamp
    path : file to write
    cosmology : Cosmology
    truth : x, y of the (phantom) subhalo [arcsec] and whether it is there; for the mark alone, the detector does not see it

    Raises
    ------
    ValueError
        The stamp has too little light to be fitted.
    """
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    fitted = detector.fit([stamp])[0]
    if fitted is None:
        raise ValueError(f"{stamp.name} has too little light to be fitted: choose another stamp")
    settings = detector.settings.sensitivity
    scan = fitted.scan(detector.profiles)["both"]
    best = np.unravel_index(int(scan.z.argmax()), scan.z.shape)
    depth = mean_z(fitted, mapped_halos(detector, settings, cosmology), settings)["both"]
    limit = least_mass(depth, np.array(settings.log10_mass_msun), settings.threshold)

    half = stamp.flux.shape[0] * detector.scale / 2
    frame = {"extent": (-half, half, -half, half), "origin": "lower", "interpolation": "nearest"}
    velocity = np.full(stamp.flux.shape, np.nan) if stamp.mask is None else np.where(stamp.mask > 0, stamp.velocity, np.nan)
    most = float(np.nanmax(np.abs(velocity), initial=1.0))
    panels = (
        (stamp.flux, "flux", {"cmap": "magma"}, ""),
        (velocity, "velocity", {"cmap": "RdBu_r", "vmin": -most, "vmax": most}, "km/s"),
        (image_of(fitted.where, scan.z[best[0]], stamp.flux.shape), f"z of {detector.profiles[best[0]].name}", {"cmap": "viridis"}, ""),
        (
            image_of(fitted.where, limit, stamp.flux.shape),
            f"least mass seen at z = {settings.threshold:g}",
            {"cmap": "cividis_r"},
            "log₁₀ M/M☉",
        ),
    )
    figure, axes = plt.subplots(1, 4, figsize=(15, 3.7), layout="constrained", sharey=True)
    for axis, (image, title, style, unit) in zip(axes, panels, strict=True):
        shown = axis.imshow(image, **frame, **style)
        figure.colorbar(shown, ax=axis, shrink=0.85, label=unit)
        axis.set(title=title, xlabel="x [arcsec]", facecolor="0.9")
        axis.plot(fitted.where.x[best[1]], fitted.where.y[best[1]], "+", color="white", markersize=12, markeredgewidth=3)
        axis.plot(
            fitted.where.x[best[1]], fitted.where.y[best[1]], "+", color="black", markersize=11, markeredgewidth=1.2, label="greatest z"
        )
        if truth is not None:
            name = "subhalo" if truth[2] else "no subhalo; its phantom"
            axis.plot(*truth[:2], "o", color="tab:red", markersize=11, markerfacecolor="none", markeredgewidth=1.6, label=name)
    axes[0].set_ylabel("y [arcsec]")
    axes[0].legend(loc="lower left", fontsize=8)
    figure.suptitle(
        f"{stamp.name}: ln B = {scan.log_bayes(detector.shares(fitted.where), detector.settings.strength):.1f}, greatest z = {scan.z[best]:.1f}"
    )
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return fitted


def main() -> None:
    """Draw one stamp of a shard."""
    parser = argparse.ArgumentParser(
        prog="python -m darkhaloscope.detectors.evidence.picture", description="A stamp, its z map and its sensitivity."
    )
    parser.add_argument("shard", type=Path, help="Parquet file of stamps")
    parser.add_argument("row", type=int, help="which stamp of it, from 0")
    parser.add_argument("picture", type=Path, help="file to write")
    parser.add_argument("--dataset", type=Path, help="JSON of the dataset's section of the config")
    arguments = parser.parse_args()
    dataset = SubhaloDataset.model_validate(json.loads(arguments.dataset.read_text(encoding="utf-8")) if arguments.dataset else {})
    detector = Detector.of(dataset, Cosmology(), Evidence())
    stamp = read_observed(arguments.shard, dataset.instrument.stamp_size)[arguments.row]
    marks = [Column(f"subhalo_{k}_arcsec", "float64", "arcsec", "Place") for k in "xy"]
    table = read_table(
        arguments.shard, Schema("stamps", (*marks, Column("label", "int8", "", "Label"))), ["subhalo_x_arcsec", "subhalo_y_arcsec", "label"]
    )
    x, y, label = table.slice(arguments.row, 1).to_pylist()[0].values()
    draw(detector, stamp, arguments.picture, Cosmology(), (x, y, bool(label)))


if __name__ == "__main__":
    main()
