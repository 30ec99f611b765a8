"""The report's page, from a made-up experiment: what it says, what it holds, and what it never prints."""

import dataclasses
import html
import json
import re
import xml.etree.ElementTree

import numpy as np
import pandas as pd
import pytest

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.detectors import Fusion
from darkhaloscope.config.evidence import EvidenceDetector
from darkhaloscope.config.experiment import Experiment, Stratum
from darkhaloscope.config.subhalo import SubhaloDataset
from darkhaloscope.core.rates import EvaluationError
from darkhaloscope.core.tables import write_table
from darkhaloscope.detectors.schema import maps_schema
from darkhaloscope.evaluation.tidy import number, power, rate_text, read_frame
from darkhaloscope.learning.networks import describe_network
from darkhaloscope.report.answer import answer, gates, rates_of, unsaid
from darkhaloscope.report.assemble import ReportConfig, _mock_note
from darkhaloscope.report.context import Examples, Gate, ReportError
from darkhaloscope.report.explanations import read_explanations
from darkhaloscope.report.frames import column_name
from darkhaloscope.report.grids import plain
from darkhaloscope.report.index import Summary, build_index, other_summaries, read_summary
from darkhaloscope.report.page import build_report, summarise
from darkhaloscope.report.robustness import read_robustness, robustness_charts
from darkhaloscope.report.sections import comparison_tables, rates_tables, strata_table
from darkhaloscope.report.story import shared_charts
from darkhaloscope.report.subhalo_story import observer_tables
from unit.report import synthetic


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "report"
    context = synthetic.context(tests=("subhalo", "psf-shift"))
    build_report(context, folder)
    return context, folder, (folder / "index.html").read_text(encoding="utf-8")


def lean(**changes):
    """Return a context whose report is quick to build."""
    few = {"examples": Examples(), "histories": {}, "observers": {}, "compare": False, "seeds": (1,)}
    return synthetic.context({"flux": 2.5}, **(few | changes))


def without_scripts(page: str) -> str:
    return re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.S)


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", without_scripts(page))))


def data_of(page: str, name: str):
    return json.loads(re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.S).group(1))


# --- the page --------------------------------------------------------------------------------


def test_the_folder_holds_page_figures_tables_and_pictures(built):
    context, folder, _ = built
    assert sorted(p.name for p in folder.iterdir()) == ["figures", "index.html", "stamps", "tables"]
    assert {p.stem for p in (folder / "figures").glob("*.pdf")} == {p.stem for p in (folder / "figures").glob("*.png")}
    rates = read_frame(folder / "tables" / "flux-rates.csv")
    # Rates survive the CSV to the last digit that is printed.
    assert np.allclose(rates["value"], context.frames["flux"]["rates"]["value"], equal_nan=True)
    assert set(rates["seed"]) == {"1", "2", "committee"}


def test_nothing_on_the_page_is_fetched_from_a_network(built):
    _, folder, page = built
    visible = without_scripts(page)
    targets = re.findall(r'(?:src|href|action|poster|srcset)\s*=\s*"([^"]*)"', visible)
    assert targets and not [t for t in targets if t.startswith(("http:", "https:", "//"))]
    assert not re.search(r"<(script|iframe|object|embed)[^>]*\ssrc=", page)
    assert "@import" not in page.split("<script")[0] and "url(http" not in page.split("<script")[0]
    for target in targets:
        if not target.startswith(("data:", "#")):
            assert (folder / target).is_file(), target


def test_the_first_screen_holds_question_answer_gates_and_limits(built):
    context, _, page = built
    first = text_of(page[: page.index('<section id="information">')])
    assert synthetic.QUESTION in first
    assert answer(context).headline in first
    assert "“both” separates the classes better than “flux”: ΔAUC = +" in first
    for gate in gates(context):
        assert gate.name in first
    assert "How often real subhalos would be found: every stamp is simulated." in first
    assert "10⁻⁵ needs 1,000,000" in first


def test_unresolved_rates_are_words_and_never_numbers(built):
    context, _, page = built
    rates = context.frames["flux"]["rates"]
    lost = rates[(rates["metric"] == "tpr_at_fpr") & ~rates["resolved"]]
    assert len(lost)  # the sample is made too small on purpose
    assert "unresolved (needs 1,000 negatives)" in text_of(page)
    for table in (strata_table(context), comparison_tables(context)[0][2], rates_tables(context)[0][1]):
        unresolved = [cell for row in table.rows for cell in row if not isinstance(cell, str) and "unresolved" in cell[1]]
        assert all(cell[0] == "" for cell in unresolved) and (unresolved or "unresolved" in str(table.notes))
    # 600 negatives × FPR ≥ 10 false positives: no curve reaches below FPR 1/60.
    for chart in shared_charts(context)["roc"]:
        lines = [line for line in chart.figure.axes[0].lines if line.get_label() in context.experiment.detectors]
        assert min(line.get_xdata().min() for line in lines) >= 10 / 600 - 1e-9


def test_rates_that_no_network_resolves_are_told_once_and_take_no_column(built):
    context, _, page = built
    table = rates_tables(context)[0][1]
    assert "TPR at FPR 10⁻²" not in table.heads and "TPR at FPR 10%" in table.heads
    assert "TPR at FPR 10⁻²: unresolved (needs 1,000 negatives)." in table.notes
    assert text_of(page).count("TPR at FPR 10⁻²: unresolved (needs 1,000 negatives).") == 2  # one for each test dataset


def test_a_note_that_rows_share_is_told_once(built):
    context, _, page = built
    table = strata_table(context)
    shared = [note[2:] for note in table.notes if "4 galaxies" in note]
    assert len(shared) == len(set(shared)) > 0
    section = text_of(page[page.index('<section id="strata">') : page.index('<section id="robustness">')])
    assert all(section.count(note) == 1 for note in shared)
    marked = [cell[1] for row in table.rows for cell in row if not isinstance(cell, str) and "¹" in cell[1]]
    assert marked


def test_an_unresolved_row_gives_no_number_even_if_it_has_one():
    row = pd.Series({"value": 0.31, "low": 0.1, "high": 0.5, "resolved": False, "negatives_needed": 100000, "note": ""})
    assert rate_text(row) == "unresolved (needs 100,000 negatives)"


def test_figures_agree_with_tables(built):
    context, _, _ = built
    drawn = shared_charts(context)["roc"]
    assert [chart.label for chart in drawn] == ["subhalo", "psf-shift"]  # the first test dataset stays first
    curve = next(line for line in drawn[0].figure.axes[0].lines if line.get_label() == "both")
    rates = context.frames["both"]["rates"]
    row = rates[
        (rates["test_dataset"] == "subhalo") & (rates["seed"] == "committee") & (rates["metric"] == "tpr_at_fpr") & (rates["at"] == 0.1)
    ]
    at = [y for x, y in zip(curve.get_xdata(), curve.get_ydata(), strict=True) if x <= 0.1 + 1e-12]
    assert max(at) == pytest.approx(row["value"].item(), abs=1e-12)


def test_every_chart_is_in_the_page_as_it_is_in_print(built):
    context, _, page = built
    svgs = re.findall(r"<svg.*?</svg>", without_scripts(page), re.S)
    assert len(svgs) == len(re.findall(r'<a class="note" href="(figures/[^"]*.pdf)">PDF</a>', page)) > 10
    for text in svgs:
        root = xml.etree.ElementTree.fromstring(text)  # well-formed, and it scales with the page
        assert root.get("viewBox") and root.get("width") is None
    # A point says its value where the pointer rests on it, and its text is text.
    row = strata_row(context)
    assert f"<title>flux, {row['stratum']}: {rate_text(row)}</title>" in page


def strata_row(context):
    rows = rates_of(context, "flux", name="strata")
    return rows[(rows["metric"] == "auc") & (rows["column"] == "mass_bin")].iloc[0]


def test_the_robustness_matrix_holds_every_network_on_every_dataset(built):
    context, _, page = built
    section = text_of(page[page.index('<section id="robustness">') : page.index('<section id="stamps">')])
    frame = context.robustness
    for name in context.experiment.detectors:
        for test in ("subhalo", "psf-shift"):
            part = frame[(frame["test_dataset"] == test) & (frame["detector"] == name) & (frame["baseline"] == "")]
            row = part[part["metric"] == "auc"].iloc[0]
            assert rate_text(row) in section
            # The committee's AUC is the one of the rates.
            rates = context.frames[name]["rates"]
            rates = rates[(rates["test_dataset"] == test) & (rates["seed"] == "committee") & (rates["metric"] == "auc")]
            assert row["value"] == pytest.approx(rates["value"].iloc[0], abs=1e-12)
            if test == "psf-shift":
                assert f"{number(row['difference'], sign=True)} [{number(row['difference_low'], sign=True)}" in section
    gain = frame[(frame["baseline"] == "flux") & (frame["test_dataset"] == "psf-shift") & (frame["metric"] == "delta_auc")].iloc[0]
    assert "both − flux" in section and rate_text(gain, sign=True) in section
    assert "instrument.psf.fwhm_arcsec = 0.2" in section and "1,200 test stamps of the training dataset" in section
    assert 'href="tables/robustness.csv"' in page and 'href="figures/robustness.pdf"' in page


def test_the_table_of_robustness_reads_back_as_it_was_written(built):
    context, folder, _ = built
    found = read_robustness(folder / "tables/robustness.csv")
    pd.testing.assert_frame_equal(found, context.robustness, check_dtype=False)


def test_robustness_charts_show_every_network_and_the_change_without_home(built):
    context, _, _ = built
    drawn = robustness_charts(context.robustness)
    assert list(drawn) == ["AUC", "change of AUC", "TPR at FPR 5%", "change of TPR at FPR 5%", "ΔAUC over the baseline"]

    def names(figure):
        return figure.axes[0].get_legend_handles_labels()[1]

    def ticks(figure):
        return [label.get_text() for label in figure.axes[0].get_xticklabels()]

    assert names(drawn["AUC"]) == ["flux", "velocity", "both", "mask"] and ticks(drawn["AUC"]) == ["subhalo", "psf-shift"]
    assert ticks(drawn["change of AUC"]) == ["psf-shift"]
    assert names(drawn["ΔAUC over the baseline"]) == ["both − flux", "both − velocity"]


def test_explanations_are_drawn_and_their_shares_told(tmp_path):
    context = lean()
    shown = dataclasses.replace(context, explanations=synthetic.explanations(context.browser.rows, ["flux", "sharp"]))
    build_report(shown, tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    section = text_of(page[page.index('<section id="explanations">') : page.index('<section id="stamps">')])
    assert "8 test stamps" in section and "highest-scored controls" in section and "sharp" in section
    assert "within 0.2″" in section and "1.000" in section and "2 of 2" in section
    assert {"explanations.pdf", "explanations.png"} <= {p.name for p in (tmp_path / "report" / "figures").iterdir()}
    assert 'href="tables/explanations.csv"' in page and 'href="tables/explanations-summary.csv"' in page
    build_report(context, tmp_path / "plain")
    assert 'id="explanations"' not in (tmp_path / "plain" / "index.html").read_text(encoding="utf-8")


def test_explanations_read_back_as_they_were_written(tmp_path):
    rows = {"stamp_id": ["a", "a", "a"], "network": ["", "both", "both"], "input": ["flux", "flux", "velocity"]}
    maps = np.arange(3 * 16, dtype=np.float32).reshape(3, 4, 4)
    write_table(tmp_path / "maps.parquet", maps_schema(4), maps_schema(4).table({**rows, "map": maps}))
    for name in ("stamps", "summary"):
        pd.DataFrame({"stamp_id": ["1"], "network": ["both"], "group": ["x"]}).to_csv(tmp_path / f"{name}.csv", index=False)
    found = read_explanations([tmp_path / "stamps.csv", tmp_path / "summary.csv", tmp_path / "maps.parquet"])
    np.testing.assert_array_equal(found.maps["a", "both"], maps[1] + maps[2])
    np.testing.assert_array_equal(found.pixels["a", "flux"], maps[0])
    assert found.table["stamp_id"].tolist() == ["1"]


def test_one_test_dataset_has_no_section_on_robustness(tmp_path):
    build_report(lean(), tmp_path / "report")
    assert 'id="robustness"' not in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")


def test_text_from_data_is_escaped(tmp_path):
    evil = '<script>alert("x")</script>'
    context = lean()
    rows = context.browser.rows.assign(source_kind=evil)
    context = lean(
        experiment=context.experiment.model_copy(update={"question": evil}),
        browser=type(context.browser)(rows, context.browser.flux, context.browser.velocity, context.browser.mask, 1200),
        notes=(evil,),
        provenance={"git_commit": evil, "config": {"key": evil}},
    )
    build_report(context, tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert evil not in page and html.escape(evil, quote=False)[:14] in page
    assert data_of(page, "stamp-data")["values"]["source_kind"][0] == evil


def test_a_failure_leaves_the_old_report_and_nothing_else(built, tmp_path, monkeypatch):
    context = lean()
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").write_text("old")
    monkeypatch.setattr("darkhaloscope.report.charts.strata", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        build_report(context, tmp_path / "report")
    assert [p.name for p in tmp_path.iterdir()] == ["report"]
    assert (tmp_path / "report" / "index.html").read_text() == "old"


def test_the_same_context_gives_the_same_bytes(tmp_path):
    context = lean(examples=synthetic.context().examples)
    for name in ("a", "b"):
        build_report(context, tmp_path / name)
    files = [sorted(p.relative_to(tmp_path / name) for p in (tmp_path / name).rglob("*") if p.is_file()) for name in ("a", "b")]
    assert files[0] == files[1] and len(files[0]) > 10
    for path in files[0]:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes(), path


def test_an_experiment_of_one_network_without_examples(tmp_path):
    context = lean(browser=None, quality={})
    build_report(context, tmp_path / "report")
    text = text_of((tmp_path / "report" / "index.html").read_text(encoding="utf-8"))
    assert "“flux” tells positives from controls: AUC = 0.9" in text
    assert "one training seed was used" in text


# --- the answer in words ---------------------------------------------------------------------


def test_a_null_result_is_called_one():
    context = synthetic.context({"flux": 0.8, "both": 0.8})
    said = answer(context).headline
    assert "no difference between “both” and “flux” is detected" in said
    assert "The interval excludes a gain above" in said and "better" not in said


def test_two_networks_at_chance_are_not_evidence_about_the_channels():
    context = synthetic.context({"flux": 0.0, "both": 0.0}, seeds=(1,))
    assert any("Neither “both” nor “flux” is told from chance" in s for s in answer(context).more)


def test_few_galaxies_are_said_beside_the_interval():
    context = synthetic.context({"flux": 0.8, "both": 0.8})
    # The made-up stamps are of 4 galaxies; a bootstrap over galaxies needs 20.
    assert "The interval takes stamps of 4 galaxies as independent." in answer(context).headline
    alone = synthetic.context({"flux": 0.8}, compare=False)
    assert "The interval takes stamps of 4 galaxies as independent." in answer(alone).headline


def test_a_stratum_that_repeats_another_is_left_to_the_tables_on_disk():
    context = synthetic.context({"flux": 0.8}, compare=False)
    evaluation = context.experiment.evaluation
    strata = {**evaluation.strata, "theta_e_arcsec": Stratum(), "theta_over_psf": Stratum()}
    settings = context.experiment.model_copy(update={"evaluation": evaluation.model_copy(update={"strata": strata})})
    frame = context.frames["flux"]["strata"]
    repeated = pd.concat([frame, frame[frame["column"] == "mass_bin"].assign(column="theta_over_psf")])
    frames = {"flux": {**context.frames["flux"], "strata": repeated}}

    def columns(psf):
        rows = context.browser.rows.assign(theta_over_psf=context.browser.rows["theta_e_arcsec"] / psf)
        changed = synthetic.context(
            {"flux": 0.8}, compare=False, experiment=settings, frames=frames, browser=dataclasses.replace(context.browser, rows=rows)
        )
        return set(rates_of(changed, "flux", name="strata")["column"]), {row[2] for row in strata_table(changed).rows}

    for seen in columns(0.12):
        assert len(seen) == 4 and not seen & {"theta_over_psf", "θ_E / PSF"}
    for seen in columns(np.linspace(0.1, 0.2, len(context.browser.rows))):
        assert len(seen) == 5


def test_a_page_about_lenses_does_not_speak_of_subhalos(tmp_path):
    dataset = SubhaloDataset.model_validate({"contrast": "lensed", "sources": {"sample": None, "mix": {"disk": 1.0}}})
    context = lean(dataset=dataset, examples=Examples())
    build_report(context, tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "subhalo strength" not in text_of(page) and "where the subhalo would be" not in text_of(page)
    assert not [c["key"] for c in data_of(page, "stamp-data")["columns"] if "subhalo" in c["key"] or "mass" in c["key"]]


def test_networks_are_described(built):
    context, _, page = built
    told = describe_network(context.detectors["both"], context.dataset.instrument.stamp_size)
    data = text_of(page[page.index('<section id="data">') : page.index('<section id="examples">')])
    assert f"both deep dual stream, width 32 {told['layers']} {told['parameters']:,} {told['multiply_adds'] / 1e6:.1f} million" in data


def test_a_loss_is_called_one_and_fails_its_gate():
    context = synthetic.context({"flux": 1.2, "both": 0.4})
    assert "“both” separates the classes worse than “flux”: ΔAUC = −" in answer(context).headline
    failed = [g.name for g in gates(context) if not g.passed]
    assert failed == ["“both” loses nothing against “flux”"]


def test_chance_is_called_chance():
    context = synthetic.context({"flux": 0.0}, seeds=(1,), compare=False)
    assert answer(context).headline.startswith("“flux” is not told from chance: AUC = 0.")


def test_a_mask_that_knows_the_label_fails_its_gate_and_comes_first():
    context = synthetic.context({"flux": 0.5, "both": 1.0, "mask": 0.9})
    checked = gates(context)
    assert not checked[0].passed and checked[0].name == "The mask alone (“mask”) knows nothing"


def test_a_mask_of_the_stamps_own_flux_is_no_leak():
    context = synthetic.context({"flux": 0.5, "both": 1.0, "mask": 0.9})
    networks = {**context.detectors, "mask": context.detectors["mask"].model_copy(update={"label_blind": False})}
    assert not [g for g in gates(synthetic.context({"flux": 0.5, "both": 1.0, "mask": 0.9}, detectors=networks)) if "mask" in g.name]


def test_gates_of_the_caller_and_of_the_quality_report_are_shown():
    context = synthetic.context(
        gates=(Gate("Brightness alone tells the classes apart", False, "AUC 0.97", "below 0.6"),),
        quality={"gates": [{"name": "balance", "asked": "as many positives as controls", "found": "600 and 598", "passed": False}]},
    )
    checked = gates(context)
    assert checked[0].name == "Brightness alone tells the classes apart"
    assert checked[1] == Gate("balance", False, "600 and 598", "as many positives as controls")
    passing = gates(synthetic.context())
    assert Gate("The stamps pass all 2 checks", True, "finite, leaks", "") in passing


def test_the_answer_goes_by_mass_bin_beside_the_marginal_observer():
    table = answer(synthetic.context()).table
    assert [row[0] for row in table.rows] == ["all stamps", *synthetic.MASS_BINS]
    assert table.heads[3] == "ΔAUC" and table.heads[-1].startswith("Marginal observer")
    # The made-up observer's d′ from both is 0.4 √(f² + v²), from flux 0.2 f.
    observers = synthetic.context().observers["subhalo"]
    ratio = (2 * np.hypot(observers["ideal_d_prime_flux"], observers["ideal_d_prime_velocity"]) / observers["ideal_d_prime_flux"]).median()
    assert f"(×{ratio:.1f}, 40 stamps)" in table.rows[0][-1]


def test_a_single_seed_is_a_limitation_and_notes_come_first():
    context = synthetic.context(seeds=(1,), notes=("Galaxies are those of a mock archive.",))
    said = unsaid(context)
    assert said[0] == "Galaxies are those of a mock archive."
    assert any("one training seed" in line for line in said)


def test_what_is_not_made_from_examples_has_no_training_to_speak_of():
    detectors = {"flux": EvidenceDetector(channels="flux"), "both": EvidenceDetector()}
    context = synthetic.context({"flux": 0.8, "both": 1.2}, seeds=(1,), detectors=detectors)
    assert "training seed" not in " ".join([answer(context).headline, *unsaid(context)])
    trained = synthetic.context({"flux": 0.8, "both": 1.2}, seeds=(1,))
    assert "One training seed each." in answer(trained).headline

    def note(detectors, **tested):
        of = Experiment(question="?", dataset="sky", detectors=("flux", "both"), **tested)
        return _mock_note(ReportConfig("x", of, {}, detectors, Cosmology(), mock_datasets=("sky",)), "A mock is tested.", "a mock sky")

    assert note(detectors) == ("A mock is tested.",)
    assert note(detectors, tests=("real",))[0].startswith("Thresholds are those of stamps of a mock sky")
    assert note(trained.detectors, tests=("real",))[0].startswith("The detectors learnt from a mock sky")


# --- small things ----------------------------------------------------------------------------


def test_numbers_are_written_with_the_digits_they_deserve():
    assert [number(v) for v in (0.5, 0.99974, 0.00123, 0.000004, 1.0)] == ["0.500", "0.99974", "0.0012", "4.0e−06", "1.000"]
    assert [number(v, sign=True) for v in (0.0342, -0.01)] == ["+0.034", "−0.010"]
    assert [power(v) for v in (1e-3, 0.05, 0.1, 0.95)] == ["10⁻³", "5%", "10%", "0.95"]


def test_plain_leaves_nothing_that_json_lacks():
    value = plain({"a": np.float64("nan"), "b": np.arange(2), "c": (np.int8(3), float("inf"), pd.NA)})
    assert json.dumps(value, allow_nan=False) == '{"a": null, "b": [0, 1], "c": [3, null, null]}'


def test_columns_without_a_name_of_their_own_have_their_unit_in_brackets():
    assert [column_name(c) for c in ("theta_e_arcsec", "src_x_arcsec", "lens_phi_rad", "source_kind", "mag")] == [
        *("θ_E [arcsec]", "src x [arcsec]", "lens phi [rad]", "source kind", "mag")
    ]


def test_a_missing_evaluation_is_named():
    context = synthetic.context()
    with pytest.raises(ReportError, match=r"evaluation of detector flux lacks \['roc'\]"):
        synthetic.context(frames={**context.frames, "flux": {k: v for k, v in context.frames["flux"].items() if k != "roc"}})


def test_a_table_without_a_column_is_named(tmp_path):
    pd.DataFrame({"metric": ["auc"]}).to_csv(tmp_path / "rates.csv", index=False)
    with pytest.raises(EvaluationError, match="test_dataset"):
        read_frame(tmp_path / "rates.csv")


def test_the_index_lists_experiments_with_answers_and_failed_gates():
    context = synthetic.context()
    page = build_index([summarise(context, "experiments/subhalo/report/index.html"), Summary("b<b>", "Why?", "No.", 1, 2, "x.html")])
    assert synthetic.QUESTION in page and 'href="experiments/subhalo/report/index.html"' in page
    assert "b&lt;b&gt;" in page and "1 of 3 gates" in page and "earlier run" not in page
    undecided = Summary("c", "When?", "Later.", 0, 3, "c.html", gates_undecided=2)
    failed = Summary("d", "Who?", "None.", 1, 2, "d.html", gates_undecided=2)
    page = build_index([failed], [undecided])
    # One list: another run in the same root moves no experiment under a heading of its own.
    assert page.index("1 of 5 gates") < page.index("2 of 5 gates") < page.index("as an earlier run") and page.count("<h1") == 1


def test_reports_of_other_runs_are_found_and_a_broken_one_stops_only_its_own_run(tmp_path):
    for name in ("own", "other", "broken"):
        path = tmp_path / "experiments" / name / "summary.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(dataclasses.asdict(Summary(name, "?", ".", 0, 1, "x.html"))) if name != "broken" else "{half")
    assert [s.name for s in other_summaries(tmp_path, ["own"])] == ["other"]
    assert read_summary(tmp_path / "experiments/own/summary.json").gates_passed == 1
    with pytest.raises(ReportError, match="broken/summary.json: expected the summary of a report"):
        read_summary(path)


def test_a_fusion_stands_among_the_networks(tmp_path):
    context = synthetic.context()
    joined = Fusion(of=("flux", "velocity"), description="Two scores in one fit")
    histories = {run: frame for run, frame in context.histories.items() if run[0] != "both"}
    build_report(synthetic.context(detectors={**context.detectors, "both": joined}, histories=histories), tmp_path)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "fusion of flux, velocity" in page and "Two scores in one fit" in page


def test_the_blind_ceiling_stands_beside_the_marginal_observer_where_there_is_one():
    context = synthetic.context()
    [(_, plain)] = observer_tables(context).values()
    assert not any(head.startswith("Blind") for head in plain.heads)
    observers = context.observers["subhalo"]
    blind = {
        f"blind_{what}_{c}": np.full(len(observers), k)
        for what in ("d_prime", "auc")
        for k, c in ((0.4, "flux"), (0.25, "velocity"), (0.75, "both"))
    }
    observers = observers.assign(**blind)
    observers.loc[:3, "blind_d_prime_velocity"] = np.nan
    [(_, table)] = observer_tables(dataclasses.replace(context, observers={"subhalo": observers})).values()
    assert table.heads[-2:] == ("Blind d′, flux / velocity / both", "Blind AUC, flux / velocity / both")
    assert list(table.rows[0][-2:]) == ["0.4 / 0.2 / 0.8", "0.40 / 0.25 / 0.75"]
