"""A small lens-finder experiment made up for the report: stamps with rings, scores with known separations, evaluated by the real evaluation."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd
import pyarrow as pa

from darkhaloscope.config.experiment import LENSFINDER_STRATA, Evaluation, Experiment
from darkhaloscope.config.lensfinder import PIXEL_SCALE_ARCSEC, LensFinderDataset
from darkhaloscope.config.network import Network
from darkhaloscope.evaluation.evaluate import evaluate_network
from darkhaloscope.evaluation.known_lenses import recall_known_lenses
from darkhaloscope.evaluation.rounds import compare_rounds
from darkhaloscope.evaluation.scored import load_seeds
from darkhaloscope.report.context import ColourBrowser, Examples, LensContext, ReportSettings
from darkhaloscope.report.examples import LENS_COLUMNS, merge_scores
from unit.report.synthetic import decided, history

SIZE = 32
QUESTION = "How complete is the lens finder at a fixed rate of false positives?"
CLASSES = (None, "spiral", "ring")


def parameters(n: int, split: str, seed: int) -> pd.DataFrame:
    """Return stamps with the columns of the lens finder's score table that reports use, half of them positives."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 2
    theta = np.where(label == 1, rng.uniform(0.5, 2.5, n), 0.0)
    snr = np.where(label == 1, rng.lognormal(1.6, 0.9, n), 0.0)
    frame = pd.DataFrame(
        {
            "stamp_id": [f"sky-{split}-{i:06d}" for i in range(n)],
            "label": label.astype(np.int8),
            "split": split,
            "contaminant_class": rng.choice(np.array(CLASSES, object), n, p=(0.8, 0.1, 0.1)),
            "source_kind": np.where(label == 1, "cosmos", None),
            "theta_e_arcsec": theta,
            "theta_over_psf": theta / rng.uniform(1.2, 1.6, n),
            "arc_snr": snr,
            "arc_snr_matched": 4 * snr,
            "psfsize_r": rng.uniform(1.2, 1.6, n),
            "psfdepth_r": rng.uniform(800, 1500, n),
            "mag_r": rng.uniform(18, 21, n),
            "ra": rng.uniform(150, 160, n),
            "dec": rng.uniform(0, 5, n),
            "brickname": "1500p000",
        }
    )
    return frame


def scores(rows: pd.DataFrame, strength: float, seed: int) -> pa.Table:
    """Return a score table: bright and wide arcs score higher, and so do ring galaxies."""
    rng = np.random.default_rng(seed)
    lens = strength * (0.5 + rows["theta_e_arcsec"] / 1.5 + np.log1p(rows["arc_snr"]) / 1.5) * rows["label"]
    fooled = 1.5 * ((rows["contaminant_class"] == "ring") & (rows["label"] == 0))
    value = rng.normal(size=len(rows)) + lens + fooled - 1.5
    return pa.Table.from_pandas(rows.assign(score=1 / (1 + np.exp(-value))), preserve_index=False)


def images(rows: pd.DataFrame, size: int = SIZE) -> np.ndarray:
    """Return stamps of red galaxies, blue arcs about the positives, with noise, (n, 3, size, size) nanomaggies."""
    rng = np.random.default_rng(4)
    y, x = (np.indices((size, size)) - (size - 1) / 2) * PIXEL_SCALE_ARCSEC
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    galaxy = np.exp(-radius / 0.6) * np.array([0.2, 0.7, 1.3])[:, None, None]
    arcs = np.exp(-0.5 * ((radius - rows["theta_e_arcsec"].to_numpy()[:, None, None]) / 0.4) ** 2)
    arcs = arcs * (1 + np.cos(angle + rng.uniform(0, 6.28, (len(rows), 1, 1)))) * rows["label"].to_numpy()[:, None, None]
    arcs = arcs[:, None] * np.array([0.12, 0.1, 0.09])[:, None, None]
    return (galaxy + arcs + rng.normal(0, 0.01, (len(rows), 3, size, size))).astype(np.float32)


@functools.cache
def evaluated(strengths: tuple[tuple[str, float], ...], seeds: tuple[int, ...], n: int, n_validation: int):
    """Return settings, score tables, evaluation, criterion, contaminants, rounds and recall of each network."""
    evaluation = Evaluation(bootstrap=50, strata=LENSFINDER_STRATA, fprs=(0.1, 0.05, 0.01, 0.001, 0.0001))
    test, validation = parameters(n, "test", 3), parameters(n_validation, "validation", 4)
    rows = pd.concat([validation, test], ignore_index=True)
    tables = {
        name: {("sky", seed): scores(rows, strength, 10 * k + seed) for seed in seeds} for k, (name, strength) in enumerate(strengths)
    }
    frames = {name: evaluate_network(t, evaluation, channels="bands", validation="sky") for name, t in tables.items()}
    resolved, contaminants = ({name: found[table] for name, found in frames.items()} for table in ("resolved", "contaminants"))
    first = {("sky", seed): scores(rows, 0.6, 100 + seed) for seed in seeds}
    rounds = {name: compare_rounds([(f"{name}+round=1", first), (name, t)], evaluation, ["sky"]) for name, t in tables.items()}
    lenses = parameters(60, "test", 5).assign(grade="A")
    lenses = lenses[lenses["label"] == 1]
    known = {
        name: recall_known_lenses(
            lenses,
            {str(seed): scores(lenses, 1.0, seed)["score"].to_numpy() for seed in seeds},
            load_seeds(t, "sky", "validation"),
            evaluation,
        )
        for name, t in tables.items()
    }
    return evaluation, tables, frames, resolved, contaminants, rounds, known


def context(
    strengths: dict[str, float] | None = None, *, seeds: tuple[int, ...] = (1,), n: int = 2400, n_validation: int = 2200, **changes
) -> LensContext:
    """Return a report's context; `changes` replace its parts."""
    strengths = strengths or {"lens": 1.0}
    evaluation, tables, frames, resolved, contaminants, rounds, known = evaluated(tuple(strengths.items()), seeds, n, n_validation)
    rows = merge_scores({(name, seed): t["sky", seed] for name, t in tables.items() for seed in seeds}, LENS_COLUMNS)
    rows = rows.sort_values([f"score_{next(iter(strengths))}", "stamp_id"], ascending=[False, True], ignore_index=True).iloc[::8]
    rows = rows.reset_index(drop=True)
    counts = {"stamps": n, "positives": n // 2, "cutout_ok": n, "hosts": n, "regions": 12, "bricks": 12, "sources": 40, "bytes": 10**8}
    counts |= {"source_kinds": {"cosmos": n // 2}, "contaminants": {"spiral": 120, "ring": 118}, "resolved": 0.81}
    values = {
        "experiment_name": "lens-finder",
        "experiment": Experiment(question=QUESTION, dataset="sky", detectors=tuple(strengths), seeds=seeds, evaluation=evaluation),
        "dataset": LensFinderDataset(description="A made-up sky for the report's tests", survey="mock"),
        "detectors": {name: Network(channels="bands", architecture="slim", width=8, rounds=2) for name in strengths},
        "frames": frames,
        "comparison": pd.DataFrame(),
        "histories": {(name, seed): history(k + seed) for k, name in enumerate(strengths) for seed in seeds},
        "quality": {
            "gates": [
                {"name": "leaks", "asked": "no host in two splits", "found": "none", "passed": True},
                {"name": "central pixels", "asked": "AUC at most 0.76", "found": "AUC 0.611", "passed": True},
            ],
            "splits": {"train": counts, "test": counts},
            "distributions": [{"split": "test", "label": 1, "column": "arc_snr", "count": n // 2, "min": 0.2, "max": 60.0, "mean": 7.0}],
        },
        "examples": Examples(),
        "browser": ColourBrowser(rows=rows, total=n, image=images(rows)),
        "provenance": {"git_commit": "0" * 40, "packages": {"numpy": "2.4"}, "config": {"run": ["lens-finder"]}},
        "settings": ReportSettings(),
        "test_datasets": {"sky": LensFinderDataset(survey="mock")},
        "resolved": resolved,
        "contaminants": contaminants,
        "rounds": rounds,
        "known_lenses": known,
        "pages": {},
        "notes": ("The sky is a mock survey.",),
    }
    return LensContext(**decided(values | changes))
