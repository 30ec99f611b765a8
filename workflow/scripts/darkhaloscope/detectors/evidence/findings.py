"""Findings as a table, one row per stamp; shards of stamps in, shards of findings and tables of scores out."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.special import expit

from ...core.tables import Column, Schema, TableError, images, open_table, read_table, write_table
from ...learning.calibration import fit_calibration
from ...tasks.subhalo.schema import scalar_columns, stamp_images
from .detect import CHANNELS, Detector, Finding, Stamp
from .schema import FINDINGS, evidence_stamp_schema, findings_schema, map_columns

log = logging.getLogger("darkhaloscope")

#: Images that an observer has; the detector reads no other column but the stamp's name and number.
OBSERVED = ("flux", "observed_velocity", "observed_sigma", "observed_mask")
#: Stamps after which a job keeps what it has.
KEPT_AFTER = 32
#: The score is 1/(1 + exp(−ln B/SOFTENING)): a double would round the odds of a strong detection to certainty, and its order be lost.
SOFTENING = 16.0


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
        Schema `findings_schema`, with maps where the detector's settings ask for them.
    """
    schema = findings_schema(detector.dataset.instrument.stamp_size if detector.settings.maps else None)
    stamps = read_observed(path, detector.dataset.instrument.stamp_size)
    numbers = read_table(path, Schema("stamps", (Column("number", "int64", "", "Number"),)), ["number"])["number"].to_pylist()
    # Some batches at a time: within them stamps are sorted by size.
    some = max(KEPT_AFTER, 8 * detector.settings.batch_size)
    done = _kept(Path(partial), key, [stamp.name for stamp in stamps], schema)
    if len(done):
        log.info("%d of %d stamps were done before this job was stopped", len(done), len(stamps))
    for start in range(len(done), len(stamps), some):
        rows = []
        for number, stamp, finding in zip(
            numbers[start : start + some], stamps[start : start + some], detector.detect(stamps[start : start + some]), strict=True
        ):
            rows.append({"stamp_id": stamp.name, "number": number, **(row_of(detector, finding) if finding else NOTHING)})
        done = pa.concat_tables([done, _table(rows, schema)]).combine_chunks()
        write_table(partial, schema, done, key=key)
        progress(len(done), len(stamps))
    trusted = pc.sum(done["trusted"]).as_py() or 0
    log.info("%d of %d stamps were fitted; %d fits are not to be trusted (column `trusted`)", trusted, len(done), len(done) - trusted)
    return done


def join_maps(stamps: str | os.PathLike, findings: str | os.PathLike) -> tuple[Schema, pa.Table]:
    """Return the stamps of a shard with the detector's maps in place of their images, for networks, and the schema.

    Raises
    ------
    TableError
        The findings hold no maps, or are of other stamps.
    """
    with open_table(stamps, Schema("stamps", scalar_columns())) as file:
        size = file.schema_arrow.field("flux").type.shape[0]
        table = file.read(columns=[c.name for c in scalar_columns()])
    try:
        found = read_table(findings, findings_schema(size), ["stamp_id", *(c.name for c in map_columns(size))])
    except TableError as error:
        raise TableError(f"{error}; set `evidence.maps` to true, so that rule detect_subhalos keeps maps") from error
    if found["stamp_id"].to_pylist() != table["stamp_id"].to_pylist():
        raise TableError(f"{findings} holds findings of other stamps than {stamps}; delete it, so that rule detect_subhalos makes it again")
    schema = evidence_stamp_schema(size)
    columns = {c.name: images(found, c.name) if c.shape else table[c.name].combine_chunks() for c in schema.columns}
    return schema, schema.table(columns)


def _table(rows: list[dict[str, object]], schema: Schema) -> pa.Table:
    columns = {c.name: [row.get(c.name) for row in rows] for c in schema.columns}
    for c in schema.columns:
        if c.shape is not None:  # a stamp that cannot be fitted has empty maps
            columns[c.name] = np.stack([np.zeros(c.shape, np.float16) if image is None else image for image in columns[c.name]])
    return schema.table(columns)


def _kept(partial: Path, key: str, names: list[str], schema: Schema = FINDINGS) -> pa.Table:
    """Return what a partial file holds, if it was written under the same key for the same stamps; else an empty table."""
    nothing = schema.arrow().empty_table()
    try:
        table = read_table(partial, schema)
    except TableError:
        return nothing
    same = (table.schema.metadata or {}).get(b"key") == key.encode() and table["stamp_id"].to_pylist() == names[: len(table)]
    return table.replace_schema_metadata(nothing.schema.metadata) if same else nothing


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
            f"log_bayes_{channel}": scan.log_bayes(shares, detector.settings.strength),
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
    return out | (finding.maps or {})


def score_table(
    stamps: Sequence[str | os.PathLike], findings: Sequence[str | os.PathLike], channel: str, *, dataset: str, detector: str
) -> dict[str, object]:
    """Return the columns of a table of scores from findings of some shards of one split.

    The score is the softened Bayes factor, 1/(1 + B^(−1/16)): between 0 and 1, in the order of B.
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
    score = expit(log_bayes / SOFTENING)
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
