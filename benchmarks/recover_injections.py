"""Are subhalos at the mapped limit found at the mapped rate?

Takes controls of a shard of a subhalo dataset with the reference run's physics, and for each the place where its subhalo would have been.
A sensitivity map of the control says which NFW mass has z = threshold there on average. That halo is put into the row, the row is rendered
anew (the same noise, another image), and the detector starts from nothing: lens, kernel, score. It should pass the threshold in half of the
stamps, since the map says the mean of z. Places at which no mapped mass passes are left out. (Rows come from the manifest:
those of the stamps hold sources as they were placed, not as they were drawn.)

    PYTHONPATH=workflow/scripts python benchmarks/recover_injections.py --config config/subhalo-reference.yaml --dataset informative \\
        --stamps results/reference/datasets/informative/stamps/test/*.parquet \\
        --manifest results/reference/datasets/informative/manifest.parquet --bank results/reference/manga/mock/bank.parquet \\
        --count 500 --out injections.parquet

With --kept 1 and stamps of the training split it measures `evidence.sensitivity.kept` of the config: the last column of what it prints.

What is done is kept in --out after each stamp; a run that was stopped goes on there.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from scipy.stats import norm

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.evidence import Evidence, Sensitivity
from darkhaloscope.config.subhalo import SubhaloDataset
from darkhaloscope.core.tables import images
from darkhaloscope.detectors.evidence.detect import Detector, Fitted, Stamp
from darkhaloscope.detectors.evidence.prior import SubhaloProfile, halo
from darkhaloscope.detectors.evidence.scan import Places
from darkhaloscope.detectors.evidence.sensitivity import least_mass, mean_z
from darkhaloscope.ifu.bank import read_bank
from darkhaloscope.tasks.subhalo.render import render_rows
from darkhaloscope.tasks.subhalo.schema import MANIFEST

#: Masses that are mapped, log₁₀ M☉; finer than the maps' own, whose interpolation is not what is tested.
MASSES = np.arange(8.0, 11.01, 0.25)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--stamps", nargs="+", required=True, help="shards of stamps")
    parser.add_argument("--manifest", required=True)
    parser.add_argument("--bank", help="bank of MaNGA sources, where the dataset has some")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--channel", choices=("flux", "velocity", "both"), default="both")
    parser.add_argument("--kept", type=float, help="in place of the config's default; 1 to measure it, on training stamps")
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.INFO)
    dataset = SubhaloDataset.model_validate(yaml.safe_load(Path(arguments.config).read_text())["datasets"][arguments.dataset])
    detector = Detector.of(dataset, Cosmology(), Evidence())
    bank = read_bank(arguments.bank) if arguments.bank else None
    done = pd.read_parquet(arguments.out).to_dict("records") if Path(arguments.out).exists() else []
    settings = Sensitivity(**({} if arguments.kept is None else {"kept": arguments.kept}))
    manifest = pq.read_table(arguments.manifest)
    place = {name: row for row, name in enumerate(manifest["stamp_id"].to_pylist())}
    for number, row in enumerate(controls(arguments.stamps)):
        if number < len(done):
            continue
        if sum(np.isfinite(r["log10_mass"]) for r in done) >= arguments.count:
            break
        drawn = manifest.slice(place[row["stamp_id"][0].as_py()], 1)
        done.append(one(detector, row, drawn, bank, arguments.channel, settings))
        pd.DataFrame(done).to_parquet(arguments.out)
    tell(pd.DataFrame(done), settings.threshold)


def controls(shards: list[str]) -> Iterator[pa.Table]:
    """Yield the rows of stamps without subhalo, one by one."""
    for path in shards:
        table = pq.read_table(path)
        for row in np.flatnonzero(table["label"].to_numpy() == 0):
            yield table.slice(row, 1)


def one(
    detector: Detector, row: pa.Table, drawn: pa.Table, bank: pa.Table | None, channel: str, settings: Sensitivity
) -> dict[str, object]:
    """Return limit, expected and found z of one stamp; NaN where no mapped mass passes or nothing is seen."""
    out = {
        "stamp_id": row["stamp_id"][0].as_py(),
        "log10_mass": np.nan,
        "mapped": np.nan,
        "z": np.nan,
        "before": np.nan,
        "refitted": np.nan,
    }
    out |= {"source_kind": row["source_kind"][0].as_py(), "peak_snr": row["peak_snr"][0].as_py()}
    x, y = row["subhalo_x_arcsec"][0].as_py(), row["subhalo_y_arcsec"][0].as_py()
    fitted = detector.fit([stamp(row)])[0]
    if fitted is None:
        return out
    halos = [halo("nfw", float(mass), 1.0, detector.dataset, Cosmology()) for mass in MASSES]
    depth = mean_z(placed(fitted, x, y), halos, settings)
    depth = depth.get(channel, depth["flux"])
    limit = float(least_mass(depth, MASSES, settings.threshold)[0])
    if not np.isfinite(limit) or limit <= MASSES[0]:
        return out
    chosen = halo("nfw", limit, 1.0, detector.dataset, Cosmology())
    before = at(fitted, x, y, [chosen])[channel]
    again = detector.fit([stamp(injected(drawn, chosen, detector.dataset, bank))])[0]
    if again is None:
        return out
    found = at(again, x, y, [chosen])[channel]
    z, start = (float(scan.z[0, 0]) for scan in (found, before))
    mapped, refitted = (float(mean_z(placed(f, x, y), [chosen], settings)[channel][0, 0]) for f in (fitted, again))
    return out | {"log10_mass": limit, "mapped": mapped, "z": z, "before": start, "refitted": refitted}


def at(fitted: Fitted, x: float, y: float, halos: list[SubhaloProfile]) -> dict[str, object]:
    """Return what halos at one place give."""
    scans = placed(fitted, x, y).scan(halos)
    return {**scans, "velocity": scans.get("velocity", scans["flux"])}


def placed(fitted: Fitted, x: float, y: float) -> Fitted:
    """Return a fitted stamp in which one place is looked at."""
    return replace(fitted, where=Places(np.array([x]), np.array([y]), np.ones(1), np.zeros((1, 2), int)))


def injected(drawn: pa.Table, chosen: SubhaloProfile, dataset: SubhaloDataset, bank: pa.Table | None) -> pa.Table:
    """Render a control's row of the manifest anew with a halo at its place."""
    values = {
        "label": 1,
        "subhalo_profile": "nfw",
        "log10_mass_msun": chosen.log10_mass_msun,
        "concentration": chosen.concentration,
        "subhalo_rs_arcsec": chosen.r_s,
        "subhalo_alpha_rs_arcsec": chosen.alpha_rs,
    }
    rows = drawn.select([c.name for c in MANIFEST.columns])
    for name, value in values.items():
        field = rows.schema.field(name)
        rows = rows.set_column(rows.schema.get_field_index(name), field, pa.array([value], field.type))
    return render_rows(rows, dataset, bank, Cosmology())


def stamp(row: pa.Table) -> Stamp:
    """Return what an observer has of a stamp."""
    names = ("flux", "observed_velocity", "observed_sigma", "observed_mask")
    return Stamp(row["stamp_id"][0].as_py(), *(images(row, name)[0] for name in names))


def tell(frame: pd.DataFrame, threshold: float) -> None:
    """Print how many of the injected halos were recovered, and how z stands to what was mapped."""
    used = frame[frame["log10_mass"].notna()]
    print(f"{len(used)} injections; at {len(frame) - len(used)} other places no mapped mass has z = {threshold:g}, or fewer than the least")
    print(f"{'':16}{'stamps':>7}{'mapped':>9}{'recovered':>22}{'mean z':>9}{'s.d.':>7}{'z gained':>10}{'of mapped':>10}")
    groups = [("all", used), *((str(kind), group) for kind, group in used.groupby("source_kind"))]
    for name, group in groups:
        passed, n = (group["z"] >= threshold).mean(), len(group)
        rate = norm.cdf(group["mapped"] - threshold).mean()
        middle, half = (passed + 1.92 / n) / (1 + 3.84 / n), 1.96 * np.sqrt(passed * (1 - passed) / n + 0.96 / n**2) / (1 + 3.84 / n)
        gained = group["z"] - group["before"]
        print(
            f"{name:16}{n:7}{rate:9.2f}{passed:8.2f} [{middle - half:.2f}, {middle + half:.2f}]{group['z'].mean():9.2f}{group['z'].std():7.2f}"
            f"{gained.mean():10.2f}{(gained / group['mapped']).median():10.2f}"
        )


if __name__ == "__main__":
    main()
