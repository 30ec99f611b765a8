"""The lens finder's report, from a made-up experiment: what its first screen says, what it holds, and its stamps in colours."""

import dataclasses
import html
import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from darkhaloscope.config.experiment import ShortcutGates
from darkhaloscope.config.lensfinder import ImportedDataset
from darkhaloscope.evaluation.shortcuts import check_hosts, check_likeness, summary
from darkhaloscope.evaluation.tidy import number, rate_text
from darkhaloscope.report.answer import quality_gates
from darkhaloscope.report.composites import three_colours, write_colour_sheets
from darkhaloscope.report.context import ReportError
from darkhaloscope.report.lens_finder import answer, criterion, gates, unsaid
from darkhaloscope.report.lens_story import STORY, read_table, round_tables
from darkhaloscope.report.page import build_report, summarise
from unit.evaluation.test_evaluation_shortcuts import sees_brightness, verdicts
from unit.report import chromium, synthetic_lens


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lens-report") / "report"
    context = synthetic_lens.context()
    build_report(context, folder)
    return context, folder, (folder / "index.html").read_text(encoding="utf-8")


def text_of(page):
    page = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.S)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


def data_of(page, name):
    return json.loads(re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.S).group(1))


def section(page, name):
    return text_of(page[page.index(f'<section id="{name}"') :].split("</section>")[0])


# --- the first screen ------------------------------------------------------------------------


def test_the_first_screen_gives_completeness_at_each_resolved_fpr_and_names_the_unresolved_ones(built):
    context, _, page = built
    first = section(page, "answer")
    rates = context.frames["lens"]["rates"]
    at = rates[(rates["seed"] == "committee") & (rates["metric"] == "tpr_at_fpr")].set_index("at")
    assert synthetic_lens.QUESTION in first
    # 1,200 controls: 12 false positives at 10⁻², 1.2 at 10⁻³.
    assert f"At FPR 10⁻², “lens” finds {rate_text(at.loc[0.01])} of the 1,200 lenses" in first
    for fpr in (0.1, 0.05, 0.01):
        assert rate_text(at.loc[fpr]) in first
    assert "unresolved (needs 10,000 negatives)" in first and "10⁻⁴ needs 100,000" in first
    for row in answer(context).table.rows[:3]:
        assert all("[" in cell for cell in row[1:])


def test_resolved_lenses_are_counted_against_all_controls(built):
    context, _, _ = built
    _, tables, *_ = synthetic_lens.evaluated((("lens", 1.0),), (1,), 2400, 2200)
    frame = tables["lens"]["sky", 1].to_pandas()
    test, validation = frame[frame["split"] == "test"], frame[frame["split"] == "validation"]
    wide = test[(test["label"] == 1) & (test["theta_over_psf"] >= 0.5)]
    controls = np.sort(test.loc[test["label"] == 0, "score"])[::-1]
    rows = context.resolved["lens"].set_index(["metric", "at"])
    # At most 12 of 1,200 controls pass: the threshold is the 13th score.
    assert rows.loc[("tpr_at_fpr", 0.01), "value"] == pytest.approx((wide["score"] > controls[12]).mean())
    cut = np.sort(validation.loc[validation["label"] == 0, "score"])[::-1][11]
    assert rows.loc[("tpr_at_validation_fpr", 0.01), "value"] == pytest.approx((wide["score"] > cut).mean())
    needed = np.sort(wide["score"])[::-1][int(np.ceil(0.8 * len(wide))) - 1]
    assert rows.loc[("criterion", 0.8), "value"] == pytest.approx((controls >= needed).mean())


def test_the_criterion_is_not_met_met_or_undecided_as_its_interval_says():
    context = synthetic_lens.context()
    [row] = context.resolved["lens"][context.resolved["lens"]["metric"] == "criterion"].to_dict("records")

    def said(**values):
        frames = {"lens": {**context.frames["lens"], "resolved": pd.DataFrame([row | values])}}
        return criterion(synthetic_lens.context(frames=frames), "lens")

    assert said(value=0.05, low=0.04, high=0.06).startswith("not met") and "50 times the limit" in said(value=0.05, low=0.04, high=0.06)
    assert said(value=0.0005, low=0.0003, high=0.0009, n_negatives=100_000).startswith("met")
    few = said(value=3 / 1200, low=0.0005, high=0.0073, interval="Clopper–Pearson", n_negatives=1200)
    assert few.startswith("undecided") and "3 of 1,200 controls pass" in few and "[" not in few
    assert "lenses" not in few.split("of which none passes")[1]
    assert said(value=0.0, low=0.0, high=1.0, interval="Clopper–Pearson", n_positives=12).endswith(
        "of which none passes, and some 50 lenses."
    )
    # (1 − 10⁻³)^n falls below 0.025 at n = 3,687.
    assert "at least 3,688 controls" in few or "at least 3,687 controls" in few


def test_a_failed_check_of_the_stamps_is_on_the_first_screen(tmp_path):
    context = synthetic_lens.context()
    core = {"name": "central pixels", "asked": "AUC at most 0.76", "found": "AUC 0.981", "passed": False}
    failed = dataclasses.replace(context, quality={**context.quality, "gates": [context.quality["gates"][0], core]}, browser=None)
    assert [g.name for g in gates(failed) if not g.passed] == ["central pixels"]
    build_report(failed, tmp_path / "report")
    first = section((tmp_path / "report" / "index.html").read_text(encoding="utf-8"), "answer")
    assert "1 of 2 gates failed" in first and "AUC 0.981" in first
    assert [g.name for g in gates(context)] == ["The stamps pass all 2 checks", "The central pixels alone say little"]


@pytest.fixture(scope="module")
def caught(tmp_path_factory):
    """The report of a network that knows its hosts, by the gates as check_shortcuts writes them."""
    rng = np.random.default_rng(1)
    limits, controls, features = ShortcutGates(), rng.normal(size=800), rng.normal(size=(500, 8))
    hosts = check_hosts(rng.normal(1.5, 1, 400), rng.normal(1.5, 1, 400), controls, limits, 0.95)
    table = pd.concat(
        [hosts, check_likeness(features[:30], features, limits, 0.95), check_likeness(features[:150], features[150:], limits, 0.95)]
    )
    found = quality_gates(json.loads(json.dumps(summary(table.assign(test_dataset="sky"), "lens"))))
    context = dataclasses.replace(synthetic_lens.context(), gates=tuple(found), browser=None)
    folder = tmp_path_factory.mktemp("caught") / "report"
    build_report(context, folder)
    return found, folder / "index.html"


def test_gates_that_find_shortcuts_are_on_the_first_screen_failed_ones_first(caught):
    found, page = caught
    assert [g.passed for g in found] == [False, False, None, None, True, True]
    first = section(page.read_text(encoding="utf-8"), "answer")
    assert "2 of 7 gates failed" in first and first.index("arcs removed") < first.index("30 real lenses") < first.index("The stamps pass")
    for gate in found[:4]:
        assert gate.name in first and gate.found in first and gate.limit in first
    # Passed ones take one line; each has its own further below.
    together = f"linear probe {found[4].found.split()[0]} ≤ 0.85; Fréchet distance {found[5].found.split()[0]} ≤ 0.5"
    assert "Shortcuts of lens on sky: 2 gates find none" in first and together in first
    data = section(page.read_text(encoding="utf-8"), "data")
    assert all(gate.name in data and gate.found in data for gate in found)
    assert "AUC in either direction once the arcs are taken away at most 0.6" in first
    assert "30 real lenses and 500 injected ones; 40 and 100 needed" in first


@pytest.mark.skipif(chromium.find() is None, reason="Chromium is not installed; `apt-get install chromium` brings it")
def test_a_failed_gate_is_seen_without_scrolling(caught):
    with chromium.Page(1280, 800) as page:
        page.open(caught[1])
        seen = page.run(
            "[...document.querySelectorAll('.gates li')].filter(n => n.getBoundingClientRect().bottom <= innerHeight).map(n => n.textContent)"
        )
        assert len([text for text in seen if text.startswith("FAILED")]) == 2 and "null injection" in seen[1]


@pytest.mark.skipif(chromium.find() is None, reason="Chromium is not installed; `apt-get install chromium` brings it")
def test_positives_that_are_brighter_are_named_inside_the_first_screen(tmp_path):
    table, _ = verdicts(sees_brightness, brighter=0.6)
    found = quality_gates(json.loads(json.dumps(summary(table.assign(test_dataset="sky"), "lens"))))
    build_report(dataclasses.replace(synthetic_lens.context(), gates=tuple(found), browser=None), tmp_path / "report")
    with chromium.Page(1280, 800) as page:
        page.open(tmp_path / "report" / "index.html")
        seen = page.run(
            "[...document.querySelectorAll('.gates li, .warn')].filter(n => n.getBoundingClientRect().bottom <= innerHeight).map(n => n.textContent)"
        )
        assert any("gates failed" in text for text in seen)
        assert any(text.startswith("FAILED") and "brightness" in text for text in seen)


def test_limits_come_with_the_notes_first():
    context = synthetic_lens.context()
    said = unsaid(context)
    assert said[0] == "The sky is a mock survey."
    row = context.frames["lens"]["rates"].query("metric == 'tpr_at_fpr' and at == 0.01 and seed == 'committee'").iloc[0]
    share = row["value"] / (row["value"] + 0.01 * 999)
    assert any(f"Were one galaxy in 1,000 a lens, {100 * share:.2g}% of what passes" in line for line in said)
    assert any("one training seed" in line for line in said)


# --- the sections ----------------------------------------------------------------------------


def test_contaminants_are_counted_at_validations_threshold(built):
    context, _, page = built
    frame = context.contaminants["lens"]
    row = frame[(frame["at"] == 0.01) & (frame["contaminant_class"] == "ring")].iloc[0]
    _, tables, *_ = synthetic_lens.evaluated((("lens", 1.0),), (1,), 2400, 2200)
    scores = tables["lens"]["sky", 1].to_pandas()
    test = scores[(scores["split"] == "test") & (scores["label"] == 0)]
    validation = np.sort(scores.loc[(scores["split"] == "validation") & (scores["label"] == 0), "score"])[::-1]
    rings = test[test["contaminant_class"] == "ring"]
    # At most 11 of 1,100 validation controls pass at FPR 10⁻².
    assert (row["n_negatives"], row["passed"]) == (len(rings), (rings["score"] > validation[11]).sum())
    of_fpr = frame[frame["at"] == 0.01]
    assert of_fpr["n_negatives"].sum() == 1200 and set(of_fpr["contaminant_class"]) == {"ring", "spiral", "none known"}
    assert f"ring {len(rings)} {row['passed']}" in section(page, "contaminants")


def test_rounds_and_known_lenses_are_shown_with_intervals(built):
    context, _, page = built
    rounds = context.rounds["lens"].query("seed == 'committee' and completeness == 0.8 and round == 2").iloc[0]
    assert rounds["change_high"] < 0  # the second round was made better
    assert "fewer false positives at 80% completeness" in section(page, "answer")
    assert f"{rounds['fpr']:.3f}" in section(page, "rounds")
    known = context.known_lenses["lens"].query("seed == 'committee' and stratum == 'all' and fpr == 0.01").iloc[0]
    assert f"Known lenses found at the threshold for FPR 10⁻²: “lens” {known['found']:.0f} of {known['n']:.0f}" in section(page, "answer")
    assert "grade A" in section(page, "known") and "needs 10000 validation controls" in section(page, "known")


def test_several_networks_take_one_line_for_each_thing_said_of_all(built):
    """The first one is the answer; what real lenses say of each stands first."""
    context, _, _ = built
    second = {"detectors": ("lens", "other")}
    twice = {
        key: {**getattr(context, key), "other": getattr(context, key)["lens"]}
        for key in ("detectors", "frames", "resolved", "known_lenses")
    }
    real = {
        "lens": {"auc": 0.553, "low": 0.451, "high": 0.651, "lenses": 44, "lookalikes": 78},
        "other": {"auc": 0.765, "low": 0.671, "high": 0.839, "lenses": 44, "lookalikes": 78},
    }
    decided = {**context.decided, "criterion": {**context.decided["criterion"], "other": context.decided["criterion"]["lens"]}}
    several = dataclasses.replace(context, experiment=context.experiment.model_copy(update=second), real=real, decided=decided, **twice)
    found = answer(several)
    assert found.headline == answer(context).headline and "“other”" not in found.headline
    assert (
        found.more[0]
        == "AUC of 44 real lenses against 78 real galaxies that look like some: 0.553 [0.451, 0.651] by “lens”, 0.765 [0.671, 0.839] by “other”."
    )
    fewer = real | {"other": real["other"] | {"lenses": 19, "lookalikes": 26}}
    assert answer(dataclasses.replace(several, real=fewer)).more[0] == (
        "AUC of real lenses against real galaxies that look like some: of 44 real lenses against 78 real galaxies, 0.553 [0.451, 0.651] by “lens”; "
        "of 19 real lenses against 26 real galaxies, 0.765 [0.671, 0.839] by “other”."
    )
    assert "How often real lenses would be found: the lenses are simulated" in " ".join(unsaid(context))
    assert "How often real lenses would be found beyond the 44 that were asked: all others are simulated" in " ".join(unsaid(several))
    assert sum(line.startswith("Criterion, ") for line in found.more) == 1 and found.more[2].startswith("The criterion by others: “other” ")
    [known] = [line for line in found.more if line.startswith("Known lenses")]
    assert known.count(" of ") == 2 and "“other”" in known


def test_completeness_contaminants_and_rounds_are_drawn(built):
    context, _, page = built
    found = STORY.charts(context)
    assert {"completeness-theta_e_arcsec", "completeness-theta_over_psf", "completeness-arc_snr", "contaminants", "rounds"} == set(found)
    assert [chart.label for chart in found["completeness-arc_snr"]] == ["FPR 10⁻²", "FPR 5%", "FPR 10%"]
    for place, several in found.items():
        assert f'data-chart="{place}"' in page
        assert all(chart.figure.axes[0].has_data() for chart in several)


def test_a_rate_with_a_note_keeps_its_number_and_the_note_follows_the_table():
    context = synthetic_lens.context()
    note = "2 false positives: too few for a rate"
    rounds = {name: frame.assign(note=note) for name, frame in context.rounds.items()}
    noted = dataclasses.replace(context, rounds=rounds)
    (_, grid), row = round_tables(noted)["lens"], rounds["lens"].query("seed == 'committee' and completeness == 0.8 and round == 1").iloc[0]
    cells = [cells for cells in grid.rows if cells[0][0] == 0.8 and cells[1][0] == 1]
    assert cells[0][2][1].startswith(number(row["fpr"])) and cells[0][2][1].endswith("¹")
    assert grid.notes == (f"¹ {note}",)
    drawn = STORY.charts(noted)["rounds"][0].figure.axes[0]
    assert any(row["fpr"] in line.get_ydata() for line in drawn.lines)


def test_the_folder_holds_the_tables_and_figures_that_the_page_links_to(built):
    _, folder, page = built
    targets = [t for t in re.findall(r'(?:src|href)="([^"]*)"', page.split("<script")[0] + page.split("</script>")[-1])]
    for target in targets:
        if not target.startswith(("data:", "#")):
            assert (folder / target).is_file(), target
    assert {"lens-resolved.csv", "lens-contaminants.csv", "lens-rounds.csv", "lens-known-lenses.csv"} <= {
        p.name for p in (folder / "tables").iterdir()
    }
    assert {p.stem for p in (folder / "figures").glob("*.pdf")} >= {"stamps", "roc", "completeness-by-theta_e_arcsec"}


def test_nothing_of_subhalos_is_on_the_page(built):
    _, _, page = built
    assert not re.search(r"subhalo|velocity|ideal observer", text_of(page))


def test_tables_of_rounds_and_recall_survive_the_file(tmp_path):
    context = synthetic_lens.context()
    for frame in (context.rounds["lens"], context.known_lenses["lens"]):
        frame.to_csv(tmp_path / "table.csv", index=False)
        pd.testing.assert_frame_equal(read_table(tmp_path / "table.csv")[["seed"]], frame[["seed"]])
    assert read_table(tmp_path / "table.csv")["resolved"].dtype == bool


def test_imported_stamps_without_einstein_radii_have_a_page(tmp_path):
    context = synthetic_lens.context()
    dataset = ImportedDataset(table="old.parquet")
    rows = context.browser.rows.drop(columns=["theta_e_arcsec", "theta_over_psf", "arc_snr", "contaminant_class"])
    bare = dataclasses.replace(
        context, dataset=dataset, test_datasets={"sky": dataset}, resolved={"lens": pd.DataFrame()}, decided={**context.decided, "criterion": {"lens": None}}, contaminants={"lens": pd.DataFrame(columns=["at"])},
        rounds={}, known_lenses={}, browser=dataclasses.replace(context.browser, rows=rows), histories={},
    )  # fmt: skip
    build_report(bare, tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "cannot be held to it" in section(page, "answer") and "old.parquet" in section(page, "data")
    assert "luminous red" not in text_of(page)
    assert summarise(bare, "x.html").headline == answer(bare).headline


# --- pictures --------------------------------------------------------------------------------


def test_a_sheet_holds_each_stamp_in_its_place(tmp_path):
    images = synthetic_lens.images(synthetic_lens.parameters(7, "test", 1))
    sheets = write_colour_sheets(tmp_path, images, per_sheet=5, columns=3)
    assert sheets.files == ("stamps-000.jpg", "stamps-001.jpg")
    for i in range(7):
        sheet = np.asarray(Image.open(tmp_path / sheets.files[i // 5]), float)
        y, x = divmod(i % 5, sheets.columns)
        tile = sheet[y * 32 : (y + 1) * 32, x * 32 : (x + 1) * 32]
        # Noise in three colours loses a few of 255 levels to JPEG; another stamp differs by tens of them.
        differences = [np.abs(tile - three_colours(image)).mean() for image in images]
        assert int(np.argmin(differences)) == i and differences[i] < 8


def test_as_many_images_as_rows_are_asked_for():
    context = synthetic_lens.context()
    with pytest.raises(ReportError, match="colour images"):
        dataclasses.replace(context.browser, image=context.browser.image[:-1])


@pytest.mark.skipif(chromium.find() is None, reason="Chromium is not installed; `apt-get install chromium` brings it")
def test_a_browser_opens_it_without_an_error_and_marks_the_einstein_radius(built):
    context, folder, _ = built
    with chromium.Page(1280, 800) as page:
        page.open(folder / "index.html")
        inside = "(id => { const b = document.getElementById(id).getBoundingClientRect(); return b.top >= 0 && b.bottom <= innerHeight; })"
        assert page.run(f"{inside}('criterion')") is True and page.run(f"{inside}('answer-table')") is True
        assert page.run("(t => t.scrollWidth <= t.parentElement.clientWidth)(document.getElementById('answer-table'))") is True
        page.run("document.querySelector('[data-preset=positives]').click()")
        page.run("document.querySelector('[data-part=grid]').focus({ preventScroll: true })")
        page.press("Enter")
        # The dialog fills in its own time.
        filled = "document.querySelector('[data-part=title]').textContent !== ''"
        page.run(
            f"new Promise(done => {{ let left = 500; const look = () => {filled} || !left-- ? done(true) : setTimeout(look, 20); look(); }})"
        )
        page.run("(m => { m.checked = true; m.dispatchEvent(new Event('change')); })(document.querySelector('[data-part=mark]'))")
        stamp = page.run("document.querySelector('[data-part=title]').textContent")
        theta = context.browser.rows.set_index("stamp_id").loc[stamp, "theta_e_arcsec"]
        width = page.run("document.querySelector('.spot').getBoundingClientRect().width")
        # 512 screen pixels for 32 pixels of 0.262″, and a border of 1 pixel on either side at most.
        assert width == pytest.approx(2 * theta / 0.262 * 512 / 32, abs=2.1)
        assert page.run("document.querySelectorAll('.panelnames span').length") == 1
        assert page.errors == [] and {a.split(":")[0] for a in page.requests} <= {"file", "data", "blob"}
    with chromium.Page(390, 844) as phone:
        phone.open(folder / "index.html")
        assert phone.run("document.documentElement.scrollWidth") == 390 and phone.errors == []
