"""The index of a run: its experiments with their answers, its datasets, and how long its rules took."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..core.reading import read_json, readable
from ..evaluation.tidy import count
from .context import ReportError
from .grids import Grid, number_cell
from .html import render


@dataclass(frozen=True)
class Summary:
    """An experiment in the index: its name, question, headline, how many gates failed, passed or are open, where its page and picture are."""

    name: str
    question: str
    headline: str
    gates_failed: int
    gates_passed: int
    href: str
    finished: str = ""
    gates_undecided: int = 0
    picture: str = ""


def build_index(
    experiments: Sequence[Summary], others: Sequence[Summary] = (), pages: Mapping[str, str] | None = None, title: str = "Dark Halo Scope"
) -> str:
    """Return the page that lists the experiments of a run, with each one's question, answer and picture, and after them those of other runs below its root.

    `pages` are further pages of the run, by their texts: its datasets, its run times.
    """
    return render("index.html", experiments=list(experiments), others=list(others), pages=dict(pages or {}), title=title)


def read_summary(path: str | os.PathLike) -> Summary:
    """Read the line that `summarise` made for the index.

    Raises
    ------
    ReportError
        The file is not such a line.
    """
    what, remedy = "the summary of a report", "delete it and run again"
    with readable(path, what, remedy, ReportError):
        return Summary(**read_json(path, what, remedy, ReportError))


def other_summaries(root: Path, names: Sequence[str]) -> list[Summary]:
    """Return the lines of reports below a root that other runs made; a page to find them by does not fail for one that it cannot read."""
    found = []
    for path in sorted(root.glob("experiments/*/summary.json")):
        if path.parent.name not in names:
            with contextlib.suppress(ReportError):
                found.append(read_summary(path))
    return found


# --- run times -------------------------------------------------------------------------------


def read_benchmarks(folder: Path) -> pd.DataFrame:
    """Return what Snakemake measured of each job below a folder of benchmarks: `rule`, `seconds`, `max_rss_mb`, `cpu_seconds`.

    A file that is not a benchmark is passed over: the page says how long a run took, and stops none.
    """
    rows = []
    for path in sorted(folder.rglob("*.tsv")):
        with contextlib.suppress(OSError, ValueError, KeyError, IndexError):
            found = pd.read_csv(path, sep="\t", na_values=["-"]).iloc[-1]
            rule = path.relative_to(folder).parts[0].removesuffix(".tsv")
            rows.append((rule, float(found["s"]), float(found["max_rss"]), float(found["cpu_time"])))
    return pd.DataFrame(rows, columns=["rule", "seconds", "max_rss_mb", "cpu_seconds"])


def run_times_page(benchmarks: pd.DataFrame, home: str, folder: str = "results", report: str = "") -> str:
    """Return the page of how long the jobs of each rule took, longest in all first.

    `home` is the address of the index, `folder` where results go, `report` the address of Snakemake's own report where there is one.
    """
    rows = []
    for rule, jobs in sorted(benchmarks.groupby("rule"), key=lambda group: -group[1]["seconds"].sum()):
        times = [number_cell(v, _duration(v)) for v in (jobs["seconds"].sum(), jobs["seconds"].median(), jobs["seconds"].max())]
        cpu, memory = jobs["cpu_seconds"].sum(), jobs["max_rss_mb"].max()
        more = [number_cell(cpu, _duration(cpu)), number_cell(memory, f"{memory:,.0f}")]
        rows.append((rule, (len(jobs), count(len(jobs))), *times, *more))
    grid = Grid(("Rule", "Jobs", "All jobs", "Median job", "Longest job", "CPU time", "Most memory [MB]"), tuple(rows), "run-times")
    total = _duration(benchmarks["seconds"].sum())
    return render("run_times.html", table=grid, jobs=count(len(benchmarks)), total=total, home=home, folder=folder, report=report)


def _duration(seconds: float) -> str:
    if not seconds >= 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
