"""The report of an experiment as a folder: one page that opens from disk, figures, tables, pictures of stamps."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from ..core.files import follow_umask, whole
from ..evaluation.tidy import is_number
from . import charts
from .answer import quality_gates
from .context import LensContext, ReportContext, ReportError
from .explanations import draw_explanations, explanations_table
from .facts import checks_table, dataset_counts, dataset_facts, distributions
from .frames import column_name
from .grids import flat, plain
from .html import render
from .index import Summary
from .lens_story import STORY as LENS_FINDER
from .pictures import data_uri
from .robustness import robustness_section
from .sections import comparison_tables, network_table, rates_tables, strata_table
from .story import Charts, Story, shared_charts
from .subhalo_story import STORY as SUBHALO

#: The picture of an experiment's first screen, in its report's folder.
OVERVIEW = "overview"


def build_report(context: ReportContext, folder: Path, maps: Mapping[str, str | os.PathLike] | None = None) -> None:
    """Write a report: `index.html`, `figures/`, `tables/` and `stamps/` below `folder`.

    `maps` are pictures of completeness over two columns as PNG, by detector, as rule map_completeness draws them.

    Everything is written into a sibling folder that takes the place of `folder` when it is complete: after an
    error, `folder` is as it was.

    Raises
    ------
    ReportError
        The context lacks something that the page cannot do without.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    built = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".partial-{folder.name}-"))
    try:
        follow_umask(built, 0o777)
        _write(context, built, maps or {})
        _replace(built, folder)
    finally:
        shutil.rmtree(built, ignore_errors=True)


def summarise(context: ReportContext, href: str) -> Summary:
    """Return the line of an experiment in the index."""
    story = story_of(context)
    checked = story.gates(context)
    failed, passed, undecided = (sum(g.passed is outcome for g in checked) for outcome in (False, True, None))
    finished = str(context.provenance.get("finished", ""))
    headline = story.answer(context).headline
    pictured = story.overview(context) is not None
    picture = str(Path(href).parent / "figures" / f"{OVERVIEW}.png") if pictured else ""
    return Summary(context.experiment_name, context.experiment.question, headline, failed, passed, href, finished, undecided, picture)


def story_of(context: ReportContext) -> Story:
    """Return what is told of an experiment's chain."""
    return LENS_FINDER if isinstance(context, LensContext) else SUBHALO


# --- the folder ------------------------------------------------------------------------------


def _write(context: ReportContext, folder: Path, maps: Mapping[str, str | os.PathLike]) -> None:
    story = story_of(context)
    links = _write_tables(context, folder / "tables")
    drawn = _draw({**shared_charts(context), **story.charts(context)}, folder / "figures")
    figures = story.pictures(context)
    if context.explanations is not None:
        figures["explanations"] = draw_explanations(context)
    first = story.overview(context)
    if first is not None:
        figures[OVERVIEW] = first
    pictures = {}
    for name, figure in figures.items():
        charts.save(figure, folder / "figures", name)
        pictures[name] = data_uri(charts.png(figure, dpi=200))
    browser = _write_browser(context, folder / "stamps") if context.browser is not None and len(context.browser.rows) else None
    page = render(
        story.template,
        context=context,
        title=f"{context.experiment_name}: {context.experiment.question}",
        answer=story.answer(context),
        gates=story.gates(context),
        unsaid=story.unsaid(context),
        charts=drawn,
        pictures=pictures,
        links=links,
        browser=browser,
        maps={name: data_uri(Path(path).read_bytes()) for name, path in maps.items()},
        networks=network_table(context),
        checks=checks_table([*quality_gates(context.quality), *context.gates]),
        facts=dataset_facts(context.dataset),
        counts=dataset_counts(context.quality.get("splits") or {}, getattr(context.dataset, "size", None)),
        distributions=distributions(context.quality.get("distributions") or []),
        rates=rates_tables(context),
        strata=strata_table(context),
        comparisons=comparison_tables(context),
        robustness=robustness_section(context),
        explanations=explanations_table(context),
        settings=flat(context.dataset.plain()),
        provenance=flat({k: v for k, v in context.provenance.items() if k != "config"}),
        config=plain(context.provenance.get("config", {})),
        **story.values(context),
    )
    with whole(folder / "index.html") as temporary:
        temporary.write_text(page, encoding="utf-8")


def _draw(found: Charts, folder: Path) -> dict[str, list[dict[str, str]]]:
    """Write every chart as PDF and PNG, and return it as SVG with the address of its PDF, by its place in the page."""
    out: dict[str, list[dict[str, str]]] = {}
    for place, several in found.items():
        for chart in several:
            charts.settle(chart.figure)
            charts.save(chart.figure, folder, chart.file)
            shown = {"label": chart.label, "svg": charts.svg(chart.figure, chart.file), "pdf": f"figures/{chart.file}.pdf"}
            out.setdefault(place, []).append(shown)
    return out


def _replace(built: Path, folder: Path) -> None:
    if not folder.exists():
        built.rename(folder)
        return
    old = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".old-{folder.name}-"))
    folder.rename(old / folder.name)
    try:
        built.rename(folder)
    except OSError:
        (old / folder.name).rename(folder)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _write_tables(context: ReportContext, folder: Path) -> dict[str, str]:
    """Write every table of the evaluation as CSV and return their links."""
    folder.mkdir(parents=True)
    links = {}
    frames = {f"{network}-{name}": frame for network in context.experiment.detectors for name, frame in context.frames[network].items()}
    frames |= {"comparison": context.comparison, "robustness": context.robustness} | story_of(context).tables(context)
    if context.browser is not None:
        frames["stamps"] = context.browser.rows
    if context.explanations is not None:
        frames |= {"explanations": context.explanations.table, "explanations-summary": context.explanations.summary}
    for name, frame in frames.items():
        if len(frame.columns):
            with whole(folder / f"{name}.csv") as temporary:
                frame.to_csv(temporary, index=False)
            links[name] = f"tables/{name}.csv"
    return links


# --- the stamp browser -----------------------------------------------------------------------


def _write_browser(context: ReportContext, folder: Path) -> dict[str, Any]:
    """Write the sprite sheets and return what the browser's script reads."""
    rows, story = context.browser.rows, story_of(context)
    scores = [c for c in rows.columns if c.startswith("score_")]
    if not scores:
        raise ReportError(f"the stamp browser's rows hold no `score_NETWORK` column; they have {list(rows.columns)}")
    shown = ["stamp_id", "label", *scores, *(c for c in rows.columns if c not in {"stamp_id", "label", *scores})]
    columns, values = [], {}
    for key in shown:
        data = rows[key]
        kind = "number" if pd.api.types.is_numeric_dtype(data) and not pd.api.types.is_bool_dtype(data) else "text"
        if story.hides(context, key) or not data.notna().any():
            continue
        columns.append({"key": key, "name": f"score, {key[6:]}" if key in scores else column_name(key), "kind": kind})
        values[key] = [_short(v) for v in data] if kind == "number" else [None if pd.isna(v) else str(v) for v in data]
    main = f"score_{context.main_detector}"
    view = story.sheets(context, folder)
    return plain(
        {
            "n": len(rows),
            "total": context.browser.total,
            "name": context.experiment_name,
            "storage": f"dark-halo-scope-ticks-{context.experiment_name}",
            "score": main if main in values else scores[0],
            "columns": columns,
            "values": values,
            **view,
            "sheets": {"folder": "stamps", **asdict(view["sheets"])},
        }
    )


def _short(value: Any) -> float | int | None:
    if not is_number(value):
        return None
    return int(value) if float(value).is_integer() else float(f"{float(value):.6g}")
