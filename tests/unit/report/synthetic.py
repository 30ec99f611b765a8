"""A small experiment made up for the report: scores with known separations, evaluated by the real evaluation."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd
import pyarrow as pa

from darkhaloscope.config.experiment import Evaluation, Experiment, Stratum
from darkhaloscope.config.network import Network
from darkhaloscope.config.subhalo import SubhaloDataset
from darkhaloscope.evaluation.answer import judge_experiment
from darkhaloscope.evaluation.comparison import compare_networks
from darkhaloscope.evaluation.evaluate import evaluate_network
from darkhaloscope.evaluation.explanations import choose_stamps, summarise_explanations
from darkhaloscope.evaluation.robustness import measure_robustness
from darkhaloscope.learning.networks import describe_network
from darkhaloscope.report.context import Browser, Examples, Explained, Pairs, ReportContext, ReportSettings, Sources
from darkhaloscope.report.examples import BROWSER_COLUMNS, merge_scores

SIZE = 24
#: Shift of the positives' scores, in standard deviations of the controls', per network.
SEPARATIONS = {"flux": 0.5, "velocity": 0.3, "both": 1.1, "mask": 0.0}
MASS_BINS = ("9.0-9.5", "9.5-10.0", "sis")
QUESTION = "Does a flux and velocity network detect dark subhalos better than a flux-only one?"


def parameters(n: int, seed: int = 3) -> pd.DataFrame:
    """Return stamps with the columns of a score table, half of them positives."""
    rng = np.random.default_rng(seed)
    masses = rng.choice(MASS_BINS, n)
    flux, velocity = rng.uniform(0.2, 6, n), rng.uniform(0.2, 9, n)
    frame = pd.DataFrame(
        {
            "stamp_id": [f"subhalo-test-{i:06d}" for i in range(n)],
            "number": np.arange(n),
            "label": (np.arange(n) % 2).astype(np.int8),
            "split": "test",
            "mass_bin": masses,
            "subhalo_profile": np.where(masses == "sis", "sis", "nfw"),
            "log10_mass_msun": np.where(masses == "sis", np.nan, rng.uniform(9, 10, n)),
            "source_kind": rng.choice(["manga", "disk"], n),
            "theta_e_arcsec": rng.uniform(0.8, 1.2, n),
            "theta_over_psf": rng.uniform(6, 10, n),
            "peak_snr": rng.uniform(10, 30, n),
            "arc_snr_matched": rng.uniform(20, 200, n),
            "magnification": rng.uniform(2, 20, n),
            "mask_fraction": rng.uniform(0.1, 0.4, n),
            "subhalo_x_arcsec": rng.uniform(-0.7, 0.7, n),
            "subhalo_y_arcsec": rng.uniform(-0.7, 0.7, n),
            "subhalo_arc_distance_arcsec": rng.uniform(0, 0.5, n),
            "subhalo_critical_distance_arcsec": rng.uniform(0, 0.5, n),
            "d_prime_flux": flux,
            "d_prime_velocity": velocity,
            "d_prime_both": np.hypot(flux, velocity),
        }
    )
    galaxies = [f"9900{k}-12701" for k in range(4)]
    frame["galaxy_id"] = np.where(frame["source_kind"] == "manga", rng.choice(galaxies, n), None)
    frame["physical_id"] = frame["galaxy_id"]
    return frame


def scores(rows: pd.DataFrame, separation: float, seed: int) -> pa.Table:
    """Return a score table: normal scores squeezed into 0 to 1."""
    rng = np.random.default_rng(seed)
    common = np.random.default_rng(99).normal(size=len(rows))  # what makes a stamp hard for every network
    value = 0.6 * common + 0.8 * rng.normal(size=len(rows)) + separation * rows["label"]
    return pa.Table.from_pandas(rows.assign(score=1 / (1 + np.exp(-value))), preserve_index=False)


def stamps(n: int, seed: int = 5) -> dict[str, np.ndarray]:
    """Return ring-like stamps with a velocity gradient: flux, velocity, mask."""
    rng = np.random.default_rng(seed)
    y, x = (np.indices((SIZE, SIZE)) - (SIZE - 1) / 2) * 0.08
    angle = rng.uniform(0, 2 * np.pi, (n, 1, 1))
    ring = np.exp(-0.5 * ((np.hypot(x, y) - 0.65) / 0.1) ** 2) * (0.6 + 0.4 * np.cos(np.arctan2(y, x) - angle))
    mask = ring > 0.2
    velocity = np.where(mask, 150 * (x * np.cos(angle) + y * np.sin(angle)) + rng.normal(0, 10, ring.shape), 0)
    flux = ring + rng.normal(0, 0.05, ring.shape)
    return {"flux": flux.astype(np.float32), "velocity": velocity.astype(np.float32), "mask": mask.astype(np.uint8)}


def pairs(n: int) -> Pairs:
    """Return example pairs, the perturbed one with a bump."""
    images = stamps(n)
    smooth = np.clip(images["flux"], 0, None)
    bump = np.zeros((SIZE, SIZE), np.float32)
    bump[8:11, 5:8] = 0.05
    return Pairs(
        captions=tuple(f"NFW 10⁹·⁷ M☉, peak S/N {10 + i}" for i in range(n)),
        smooth_flux=smooth,
        perturbed_flux=smooth + bump,
        smooth_velocity=images["velocity"],
        perturbed_velocity=images["velocity"] + 100 * bump,
        **images,
    )


def sources(n: int) -> Sources:
    """Return made-up source galaxies."""
    y, x = (np.indices((40, 40)) - 19.5) / 10
    flux = np.stack([np.exp(-np.hypot(x, y * (1 + 0.2 * i))) for i in range(n)])
    velocity = np.stack([120 * np.tanh(x * (1 + 0.1 * i)) for i in range(n)])
    return Sources(tuple(f"9900{i}-12701 · elite" for i in range(n)), flux, velocity, flux > 0.15)


@functools.cache
def evaluated(separations: tuple[tuple[str, float], ...], tests: tuple[str, ...], seeds: tuple[int, ...], n: int):
    """Return score tables, frames per network, the comparison, and the evaluation's settings."""
    evaluation = Evaluation(
        bootstrap=50,
        strata={"mass_bin": Stratum(), "peak_snr": Stratum(edges=(10, 20, 30)), "galaxy_id": Stratum(), "source_kind": Stratum()},
        d_prime_edges=(0, 1, 3, 5, 10, 1e9),
    )
    tables = {
        name: {
            (test, seed): scores(parameters(n, 3 + t), shift * (1 - 0.3 * t), 10 * seed + 100 * t + k)
            for t, test in enumerate(tests)
            for seed in seeds
        }
        for k, (name, shift) in enumerate(separations)
    }
    channels = {"flux": "flux", "velocity": "velocity", "mask": "mask"}
    frames = {name: evaluate_network(t, evaluation, channels=channels.get(name, "both")) for name, t in tables.items()}
    names = [name for name, _ in separations]
    compared = [
        compare_networks(tables[a], tables["both"], evaluation).assign(baseline=a, detector="both")
        for a in ("flux", "velocity")
        if a in names and "both" in names
    ]
    comparison = pd.concat(compared, ignore_index=True) if compared else pd.DataFrame()
    return tables, frames, comparison, evaluation


def robustness(tables, evaluation: Evaluation, tests: tuple[str, ...], comparisons) -> pd.DataFrame:
    """Return the first dataset's networks on all of them, the second one taken for a variant of it; empty for one dataset."""
    if len(tests) < 2:
        return pd.DataFrame()
    return measure_robustness(
        tables, evaluation, home=tests[0], variants={tests[1].split("+")[-1]: tests[1]}, tests=tests[2:], gains=comparisons
    )


def explanations(rows: pd.DataFrame, networks, size: int = SIZE) -> Explained:
    """Return made-up attributions: a spot at each stamp's subhalo in the second network's maps, noise in the others'."""
    rng = np.random.default_rng(8)
    chosen = choose_stamps(
        pa.Table.from_pandas(rows.assign(split="test", number=np.arange(len(rows)), score=rows["score_" + networks[0]])), 2
    )
    table, pixels, maps = [], {}, {}
    images = stamps(len(chosen), 9)
    for i, row in enumerate(chosen.to_dict("records")):
        x, y = 0.5, -0.3
        pixels |= {(row["stamp_id"], name): images[name][i] for name in ("flux", "velocity", "mask")}
        for k, network in enumerate(networks):
            spot = np.zeros((size, size))
            spot[round(y / 0.08 + (size - 1) / 2), round(x / 0.08 + (size - 1) / 2)] = 1.0
            maps[row["stamp_id"], network] = spot if k == 1 else rng.normal(0, 0.01, (size, size))
            share = 1.0 if k == 1 else 0.05
            place = {"mark": "subhalo", "x_arcsec": x, "y_arcsec": y, "mark_radius_arcsec": 0.2, "share_near": share}
            table.append(
                {**row, **place, "network": network, "share_of_area": 0.03, "share_of_flux": 0.04, "error": 0.001, "complete": True}
            )
    table = pd.DataFrame(table)
    return Explained(table, summarise_explanations(table, 0.95, 100), pixels, maps)


def context(
    separations: dict[str, float] | None = None,
    *,
    tests: tuple[str, ...] = ("subhalo",),
    seeds: tuple[int, ...] = (1, 2),
    n: int = 1200,
    compare: bool = True,
    **changes,
) -> ReportContext:
    """Return a report's context; `changes` replace its fields."""
    separations = SEPARATIONS if separations is None else separations
    tables, frames, comparison, evaluation = evaluated(tuple(separations.items()), tests, seeds, n)
    rows = merge_scores({(name, seed): t[tests[0], seed] for name, t in tables.items() for seed in seeds})
    rows = rows.sort_values("score_" + next(iter(separations)), ascending=False, ignore_index=True)
    observers = parameters(n)[["stamp_id", "mass_bin", "d_prime_flux", "d_prime_velocity", "d_prime_both"]].head(40)
    observers = observers.rename(columns=lambda c: f"ideal_{c}" if c.startswith("d_prime") else c)
    for channel, share in (("flux", 0.2), ("velocity", 0.2), ("both", 0.4)):
        observers[f"marginal_d_prime_{channel}"] = share * observers[f"ideal_d_prime_{channel}"]
    comparisons = tuple((name, "both") for name in ("flux", "velocity") if compare and {name, "both"} <= set(separations))
    values = {
        "experiment_name": "subhalo",
        "experiment": Experiment(
            question=QUESTION,
            dataset=tests[0],
            detectors=tuple(separations),
            seeds=seeds,
            tests=tests,
            comparisons=comparisons,
            robustness={tests[1].split("+")[-1]: {"instrument.psf.fwhm_arcsec": 0.2}} if len(tests) > 1 else {},
            evaluation=evaluation,
        ),
        "dataset": SubhaloDataset(description="A made-up dataset for the report's tests", sources={"sample": None, "mix": {"disk": 1.0}}),
        "detectors": {
            name: Network(
                description=f"Sees {name}",
                channels=name if name in ("flux", "velocity", "mask") else "both",
                architecture="deep_dual_stream" if name not in ("flux", "velocity", "mask") else "deep_baseline",
            )
            for name in separations
        },
        "frames": frames,
        "comparison": comparison if compare else pd.DataFrame(),
        "robustness": robustness(tables, evaluation, tests, comparisons),
        "histories": {(name, seed): history(k + seed) for k, name in enumerate(separations) for seed in seeds},
        "quality": {
            "gates": [
                {"name": "finite", "asked": "no NaN", "found": "none", "passed": True},
                {"name": "leaks", "asked": "no galaxy in two splits", "found": "none", "passed": True},
            ],
            "splits": {
                s: {"stamps": n, "positives": n // 2, "galaxies": 4, "source_kinds": {"disk": n}, "bytes": 10**6} for s in ("train", "test")
            },
            "distributions": [{"split": "test", "label": 1, "column": "peak_snr", "count": n // 2, "min": 10.0, "max": 30.0, "mean": 20.0}],
        },
        "examples": Examples(sources=sources(5), pairs=pairs(3)),
        "browser": Browser(
            rows=rows[[c for c in rows if c in BROWSER_COLUMNS or c in ("stamp_id", "label") or c.startswith("score_")]],
            total=n,
            **stamps(n),
        ),
        "provenance": {
            "git_commit": "0" * 40,
            "packages": {"numpy": "2.4"},
            "finished": "2026-01-01T00:00:00+00:00",
            "config": {"run": ["subhalo"]},
        },
        "settings": ReportSettings(),
        "observers": {tests[0]: observers},
    }
    return ReportContext(**decided(values | changes))


def decided(values: dict) -> dict:
    """Return a context's fields with what the evaluation decides of them."""
    test = values["experiment"].test_datasets[0]
    named = ("experiment", "dataset", "detectors", "frames", "comparison")
    sizes = {
        name: describe_network(network, values["dataset"].instrument.stamp_size)
        for name, network in values["detectors"].items()
        if values["dataset"].kind == "subhalo" and network.kind == "network"
    }
    return {
        "sizes": sizes,
        "decided": judge_experiment(*(values[name] for name in named), values.get("observers", {}).get(test, pd.DataFrame())),
    } | values


def history(seed: int) -> pd.DataFrame:
    """Return a training history."""
    rng = np.random.default_rng(seed)
    epoch = np.arange(1, 7)
    frame = {"epoch": epoch}
    for split in ("train", "val"):
        frame[f"{split}_loss"] = 0.7 * np.exp(-epoch / 9) + rng.normal(0, 0.01, 6)
        frame[f"{split}_accuracy"] = 0.5 + 0.03 * epoch
        frame[f"{split}_auc"] = 0.5 + 0.04 * epoch + rng.normal(0, 0.01, 6)
    return pd.DataFrame(frame | {"learning_rate": 1e-3})
