"""Findings as a table, one row per stamp; shards of stamps in, shards of findings and tables of scores out."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...core.tables import Column, Schema, TableError, images, open_table, read_table, write_table
from ...learning.calibration import fit_calibration, logistic
from ...tasks.subhalo.schema import scalar_columns, stamp_images
from .detect import CHANNELS, Detector, Finding, Stamp
from .schema import FINDINGS

log = logging.getLogger("darkhaloscope")

#: Images that an observer has; the detector reads no other column but the stamp's name and number.
OBSERVED = ("flux", "observed_velocity", "observed_sigma", "observed_mask")
#: Stamps after which a job keeps what it has.
KEPT_AFTER = 32
#: The score is 1/(1 + exp(−ln B/SOFTENING)): a double would round the odds of a strong detection to certainty, and its order be lost.
SOFTENING = 8.0


def read_observed(path: str | os.PathLike, size: int) -> list[Stamp]:
    """Return what an observer has of the stamps of a shard."""
    columns = [c for c in stamp_images(size) if c.name in OBSERVED]
    names = Column("stamp_id", "string", "", "Identifier")
    table = read_table(path, Schema("stamps", (names, *columns)), ["stamp_id", *OBSERVED])
    parts = {name: images(table, name) for name in OBSERVED}
    return [Stamp(str(name), *(parts[k][row] for k in OBSERVED)) for row, name in enumerate(table["stamp_id"].to_pylist())]


def find_in_shard(
    detector: Detector, path: str | os.PathLike, partial: str | os.PathLike, key: str, progress: Callable[[int, int], None]
) -> pa.Table:
    """Return the findings of a shard's stamps, in its order.

    Parameters
    ----------
    detector : Detector
    path : shard of stamps
    partial : file that keeps what is done, so that a job that was killed goes on from there; the caller deletes it in the end
    key : str
        What findings depend on beside the stamps; what was kept under another key is not used.
    progress : told stamps done and all

    Returns
    -------
    pyarrow.Table
        Schema `FINDINGS`.
    """
    stamps = read_observed(path, detector.dataset.instrument.stamp_size)
    numbers = read_table(path, Schema("stamps", (Column("number", "int64", "", "Number"),)), ["number"])["number"].to_pylist()
    # Some batches at a time: within them stamps are sorted by size.
    some = max(KEPT_AFTER, 8 * detector.settings.batch_size)
    rows = _kept(Path(partial), key, [stamp.name for stamp in stamps])
    if rows:
        log.info("%d of %d stamps were done before this job was stopped", len(rows), len(stamps))
    for start in range(len(rows), len(stamps), some):
        for number, stamp, finding in zip(
            numbers[start : start + some], stamps[start : start + some], detector.detect(stamps[start : start + some]), strict=True
        ):
            rows.append({"stamp_id": stamp.name, "number": number, **(row_of(detector, finding) if finding else NOTHING)})
        write_table(partial, FINDINGS, _table(rows), key=key)
        progress(len(rows), len(stamps))
    untrusted = sum(not row["trusted"] for row in rows)
    log.info("%d of %d stamps were fitted; %d fits are not to be trusted (column `trusted`)", len(rows) - untrusted, len(rows), untrusted)
    return _table(rows)


def _table(rows: list[dict[str, object]]) -> pa.Table:
    return FINDINGS.table({c.name: [row[c.name] for row in rows] for c in FINDINGS.columns})


def _kept(partial: Path, key: str, names: list[str]) -> list[dict[str, object]]:
    """Return the rows of a partial file, if it was written under the same key for the same stamps."""
    try:
        table = read_table(partial, FINDINGS)
    except TableError:
        return []
    rows = table.to_pylist()
    same = (table.schema.metadata or {}).get(b"key") == key.encode() and [row["stamp_id"] for row in rows] == names[: len(rows)]
    return rows if same else []


#: A stamp that cannot be fitted: no evidence either way.
NOTHING: dict[str, object] = {
    **{c.name: {"float64": np.nan, "int64": 0, "bool": False, "string": ""}[c.dtype] for c in FINDINGS.columns[2:]},
    **{f"{name}_{c}": 0.0 for name in ("log_bayes", "z_max", "d_prime") for c in CHANNELS},
}


def row_of(detector: Detector, finding: Finding) -> dict[str, object]:
    """Return a finding's columns, but for the stamp's name and number."""
    out = {**NOTHING, "pixels": finding.pixels, "steps": finding.steps, "restarted": finding.restarted, "trusted": finding.trusted}
    shares = detector.shares(finding.where)
    for channel, scan in finding.scans.items():
        z = scan.z
        best = np.unravel_index(int(z.argmax()), z.shape)
        out |= {
            f"log_bayes_{channel}": scan.log_bayes(shares),
            f"z_max_{channel}": float(z[best]),
            f"d_prime_{channel}": float(scan.information[best]) ** 0.5,
        }
        if channel == "both":
            profile, place = best
            out |= {"found_x_arcsec": float(finding.where.x[place]), "found_y_arcsec": float(finding.where.y[place])}
            out["found_profile"] = detector.profiles[profile].name
    for name, value, error in zip(detector.prior.names, finding.lens, finding.errors, strict=True):
        out |= {f"fit_{name}": float(value), f"fit_{name}_error": float(error)}
    out |= {f"chi2_{name}": value for name, value in finding.chi2.items()}
    return out


def score_table(
    stamps: Sequence[str | os.PathLike], findings: Sequence[str | os.PathLike], channel: str, *, dataset: str, detector: str
) -> dict[str, object]:
    """Return the columns of a table of scores from findings of some shards of one split.

    The score is the softened Bayes factor, 1/(1 + B^(−1/8)): between 0 and 1, in the order of B.
    """
    names = [c.name for c in scalar_columns()]
    tables, values = [], []
    for path, found in zip(stamps, findings, strict=True):
        with open_table(path, Schema("stamps", scalar_columns())) as file:
            table = file.read(columns=names).replace_schema_metadata(None)
        part = read_table(found, FINDINGS, ["stamp_id", f"log_bayes_{channel}"])
        if part["stamp_id"].to_pylist() != table["stamp_id"].to_pylist():
            raise ValueError(f"{found} holds findings of other stamps than {path}; delete it, so that rule detect_subhalos makes it again")
        tables.append(table)
        values.append(part[f"log_bayes_{channel}"].to_numpy())
    table = pa.concat_tables(tables)
    order = np.argsort(table["number"].to_numpy(), kind="stable")
    log_bayes = np.concatenate(values)[order]
    score = logistic(log_bayes / SOFTENING)
    given = {"dataset": pa.repeat(dataset, len(order)), "detector": pa.repeat(detector, len(order)), "seed": pa.repeat(0, len(order))}
    columns = {name: table[name].combine_chunks().take(order) for name in names}
    return {**given, "score": score, "calibrated": score, **columns}


def calibrate(parts: Sequence[dict[str, object]]) -> None:
    """Fit P(positive) as a function of the score on the validation stamps of some parts, and put it into their column `calibrated`.

    Without validation stamps of both classes the scores stay as they are.
    """
    margin: list[NDArray] = [np.log(p["score"]) - np.log1p(-p["score"]) for p in parts]
    labels = [np.asarray(p["label"]) for p in parts]
    fitted = [np.array([s == "validation" for s in p["split"].to_pylist()]) for p in parts]
    some, truth = (
        np.concatenate([m[f] for m, f in zip(margin, fitted, strict=True)]),
        np.concatenate([y[f] for y, f in zip(labels, fitted, strict=True)]),
    )
    if len(np.unique(truth)) == 2:
        fit = fit_calibration(some, truth, "isotonic")
        for part, values in zip(parts, margin, strict=True):
            part["calibrated"] = fit.apply(values)
