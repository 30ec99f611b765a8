"""The report of an experiment as a folder: one page that opens from disk, figures, tables, pictures of stamps."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from plotly.offline import get_plotlyjs

from ..core.files import follow_umask, whole
from . import print_figures as printing
from .answer import compared, quality_gates, rates_of
from .context import LensContext, ReportContext, ReportError
from .explanations import explanations_section, print_explanations
from .figures import comparison_figure, fpr_limit, history_figure, plain, roc_figure, strata_columns, strata_figure
from .frames import column_name, count, metric_name, overall, pick, power
from .lens_story import STORY as LENS_FINDER
from .pictures import data_uri
from .robustness import print_robustness, robustness_figures, robustness_section
from .sections import comparison_tables, distributions, flat, network_table, rates_tables, strata_table
from .story import Story
from .subhalo_story import STORY as SUBHALO


@dataclass(frozen=True)
class Summary:
    """An experiment in the index: its name, question, headline, how many gates failed, passed or are open, and where its page is."""

    name: str
    question: str
    headline: str
    gates_failed: int
    gates_passed: int
    href: str
    finished: str = ""
    gates_undecided: int = 0


def build_report(context: ReportContext, folder: Path) -> None:
    """Write a report: `index.html`, `figures/`, `tables/` and `stamps/` below `folder`.

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
        _write(context, built)
        _replace(built, folder)
    finally:
        shutil.rmtree(built, ignore_errors=True)


def build_index(experiments: Sequence[Summary], others: Sequence[Summary] = (), title: str = "Dark Halo Scope") -> str:
    """Return the page that lists the experiments of a run, with each one's question and answer, and those of other runs below the same root."""
    template = _environment().get_template("index.html")
    return template.render(experiments=list(experiments), others=list(others), title=title, css=_asset("report.css"))


def summarise(context: ReportContext, href: str) -> Summary:
    """Return the line of an experiment in the index."""
    story = story_of(context)
    checked = story.gates(context)
    failed, passed, undecided = (sum(g.passed is outcome for g in checked) for outcome in (False, True, None))
    finished = str(context.provenance.get("finished", ""))
    headline = story.answer(context).headline
    return Summary(context.experiment_name, context.experiment.question, headline, failed, passed, href, finished, undecided)


def read_summary(path: str | os.PathLike) -> Summary:
    """Read the line that `summarise` made for the index.

    Raises
    ------
    ReportError
        The file is not such a line.
    """
    try:
        return Summary(**json.loads(Path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ReportError(f"{path}: expected the summary of a report ({error}); delete it and run again") from error


def other_summaries(root: Path, names: Sequence[str]) -> list[Summary]:
    """Return the lines of reports below a root that other runs made; a page to find them by does not fail for one that it cannot read."""
    found = []
    for path in sorted(root.glob("experiments/*/summary.json")):
        if path.parent.name not in names:
            with contextlib.suppress(ReportError):
                found.append(read_summary(path))
    return found


def story_of(context: ReportContext) -> Story:
    """Return what is told of an experiment's chain."""
    return LENS_FINDER if isinstance(context, LensContext) else SUBHALO


# --- the folder ------------------------------------------------------------------------------


def _write(context: ReportContext, folder: Path) -> None:
    story = story_of(context)
    links = _write_tables(context, folder / "tables")
    figures = _interactive(context) | plain(story.figures(context))
    _print(context, folder / "figures")
    pictures = story.pictures(context, folder / "figures")
    browser = _write_browser(context, folder / "stamps") if context.browser is not None and len(context.browser.rows) else None
    page = (
        _environment()
        .get_template(story.template)
        .render(
            context=context,
            title=f"{context.experiment_name}: {context.experiment.question}",
            answer=story.answer(context),
            gates=story.gates(context),
            unsaid=story.unsaid(context),
            figures=figures,
            pictures=pictures,
            links=links,
            browser=browser,
            networks=network_table(context),
            checks=[*quality_gates(context.quality), *context.gates],
            distributions=distributions(context),
            rates=rates_tables(context),
            strata=strata_table(context),
            comparisons=comparison_tables(context),
            robustness=robustness_section(context),
            explanations=explanations_section(context),
            attributions=_explain(context, folder / "figures"),
            settings=flat(context.dataset.plain()),
            provenance=[(k, v) for k, v in flat({k: v for k, v in context.provenance.items() if k != "config"})],
            config=plain(context.provenance.get("config", {})),
            css=_asset("report.css"),
            scripts=[get_plotlyjs(), _asset("browser.js"), _asset("report.js")],
            **story.values(context),
        )
    )
    with whole(folder / "index.html") as temporary:
        temporary.write_text(page, encoding="utf-8")


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


# --- figures ---------------------------------------------------------------------------------


def _interactive(context: ReportContext) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    tests = context.experiment.test_datasets
    figures["roc"] = {"variants": {test: roc_figure(*_curves(context, test)) for test in tests}}
    if context.histories:
        kinds = [q for q in ("loss", "auc", "accuracy") if any(f"val_{q}" in h for h in context.histories.values())]
        figures["history"] = {"variants": {q: history_figure(context.histories, q) for q in kinds}}
    strata = {n: rates_of(context, n, name="strata") for n in context.experiment.detectors}
    columns = strata_columns(strata)
    if columns:
        figures["strata"] = {"variants": {column_name(c): strata_figure(strata, c, "auc", None) for c in columns}}
        fpr = _common_fpr(strata)
        if fpr is not None:
            figures["strata-tpr"] = {"variants": {column_name(c): strata_figure(strata, c, "tpr_at_fpr", fpr) for c in columns}}
    for i, (baseline, network) in enumerate(context.experiment.comparisons):
        rows = compared(context, baseline, network)
        variants = {}
        for metric, at in _metrics(rows, ("delta_auc", "delta_tpr_at_fpr")):
            part = rows[
                (rows["metric"] == metric) & (rows["at"].isna() if at is None else np.isclose(rows["at"], at if at is not None else 0))
            ]
            if part["resolved"].any():
                variants[metric_name(metric, np.nan if at is None else at)] = comparison_figure(part, baseline, network)
        if variants:
            figures[f"comparison-{i}"] = {"variants": variants}
    if len(context.robustness):
        figures["robustness"] = {"variants": robustness_figures(context.robustness)}
    return plain(figures)


def _print(context: ReportContext, folder: Path) -> None:
    """Write the figures at journal width."""
    printing.save(printing.print_roc(*_curves(context, context.experiment.test_datasets[0])), folder, "roc")
    if context.histories:
        printing.save(printing.print_histories(context.histories), folder, "training")
    strata = {n: rates_of(context, n, name="strata") for n in context.experiment.detectors}
    for column in strata_columns(strata):
        printing.save(printing.print_strata(strata, column, "auc", None), folder, f"auc-by-{column}")
    if len(context.robustness):
        printing.save(print_robustness(context.robustness), folder, "robustness")
    for baseline, network in context.experiment.comparisons:
        rows = compared(context, baseline, network)
        rows = rows[rows["metric"] == "delta_auc"] if len(rows) else rows
        if len(rows) and rows["resolved"].any():
            printing.save(printing.print_comparison(rows, baseline, network), folder, f"comparison-{baseline}-{network}")


def _explain(context: ReportContext, folder: Path) -> str:
    """Write the picture of the explanations, and return it as the page shows it."""
    if context.explanations is None:
        return ""
    figure = print_explanations(context)
    printing.save(figure, folder, "explanations")
    return data_uri(printing.png(figure, dpi=200))


def _curves(context: ReportContext, test: str) -> tuple[dict[str, pd.DataFrame], float]:
    curves = {name: rates_of(context, name, test, "roc") for name in context.experiment.detectors}
    row = pick(overall(rates_of(context, context.experiment.detectors[0], test)), "auc")
    if row is None:
        raise ReportError(
            f"the rates of network {context.experiment.detectors[0]} have no AUC on {test}; make them again with rule evaluate_scores"
        )
    return curves, fpr_limit(row["n_negatives"], context.experiment.evaluation.min_expected_fp)


def _common_fpr(strata: Mapping[str, pd.DataFrame]) -> float | None:
    """Return the smallest FPR that most strata resolve."""
    rows = pd.concat([f[f["metric"] == "tpr_at_fpr"] for f in strata.values()])
    shares = rows.groupby("at")["resolved"].mean() if len(rows) else pd.Series(dtype=float)
    good = shares[shares > 0.5]
    return float(good.index.min()) if len(good) else None


def _metrics(rows: pd.DataFrame, wanted: Sequence[str]) -> list[tuple[str, float | None]]:
    if not len(rows):
        return []
    pairs = rows.loc[rows["metric"].isin(wanted), ["metric", "at"]].drop_duplicates()
    found = [(m, None if pd.isna(a) else float(a)) for m, a in pairs.itertuples(index=False)]
    return sorted(found, key=lambda p: (wanted.index(p[0]), -(p[1] or 0)))


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
    if pd.isna(value) or not np.isfinite(value):
        return None
    return int(value) if float(value).is_integer() else float(f"{float(value):.6g}")


# --- templates -------------------------------------------------------------------------------


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}  # the first test dataset, column and metric stay first
    environment.globals |= {"column_name": column_name, "power": power, "count": count}
    return environment


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath("templates", name).read_text(encoding="utf-8")
