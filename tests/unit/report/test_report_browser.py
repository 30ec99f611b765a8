"""The page in a real browser, opened from disk: no error, nothing fetched, and its controls do what they say."""

import pytest

from darkhaloscope.report.context import Gate
from darkhaloscope.report.page import build_report
from unit.report import chromium, synthetic

pytestmark = pytest.mark.skipif(chromium.find() is None, reason="Chromium is not installed; `apt-get install chromium` brings it")


@pytest.fixture(scope="module")
def context():
    return synthetic.context(
        {"flux": 0.5, "both": 1.1},
        gates=(Gate("Brightness alone tells the classes apart", False, "AUC 0.97", "below 0.6"),),
        notes=("The source galaxies are those of a mock archive.",),
    )


@pytest.fixture(scope="module")
def report(context, tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser") / "report"
    build_report(context, folder)
    return folder / "index.html"


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def page(report, downloads):
    with chromium.Page(1280, 800, downloads=downloads) as page:
        page.open(report)
        yield page


#: Ids that the grid shows, in order.
SHOWN = "[...document.querySelectorAll('.card')].map(c => c.dataset.id)"


def click(page, selector):
    page.run(f"document.querySelector({selector!r}).click()")


def order(rows, column="score_both", ascending=False):
    return rows.sort_values([column], ascending=ascending, kind="stable")["stamp_id"].tolist()


def test_opens_from_disk_without_an_error_or_a_request(page):
    page.run("window.scrollTo(0, document.body.scrollHeight)")
    page.wait(lambda: page.run("document.documentElement.dataset.ready === '1'"), "the tables")
    for figure in ("roc", "strata", "information", "comparison-0", "history"):
        box = "(b => [b.width, b.height])(document.querySelector('[data-chart={}] svg').getBoundingClientRect())"
        width, height = page.run(box.format(figure))
        assert width > 300 and height > 100, figure
    assert page.errors == []
    assert {address.split(":")[0] for address in page.requests} <= {"file", "data", "blob"}


def test_the_first_screen_shows_question_answer_failed_gate_and_limits(page, context):
    page.run("window.scrollTo(0, 0)")
    inside = """(text => {
      const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
      for (let node; (node = walk.nextNode());) if (node.textContent.includes(text)) {
        const range = document.createRange(); range.selectNodeContents(node);
        const box = range.getBoundingClientRect();
        return box.height > 0 && box.top >= 0 && box.bottom <= innerHeight && box.right <= innerWidth;
      }
      return null; })"""
    for text in (
        synthetic.QUESTION,
        "ΔAUC = +",
        "Brightness alone tells the classes apart",
        "1 of 4 gates failed",
        *synthetic.MASS_BINS,
        "mock archive",
        "every stamp is simulated",
    ):
        assert page.run(f"{inside}({text!r})") is True, text


def test_a_chart_changes_with_what_is_chosen(page):
    shown = (
        "[...document.querySelectorAll('[data-chart=strata] [data-variant]')].filter(n => n.offsetHeight > 0).map(n => n.dataset.variant)"
    )
    first, second = page.run("[...document.querySelectorAll('[data-chart=strata] [data-variant]')].map(n => n.dataset.variant)")[:2]
    assert page.run(shown) == [first]
    page.run(
        f"(s => {{ s.value = {second!r}; s.dispatchEvent(new Event('change')); }})(document.querySelector('[data-chart=strata] select'))"
    )
    assert page.run(shown) == [second]


def test_tables_sort(page):
    click(page, "#rates-table-0 th:nth-child(4)")
    values = "[...document.querySelectorAll('#rates-table-0 tbody tr')].map(r => Number(r.cells[3].dataset.order))"
    rising = page.run(values)
    assert rising == sorted(rising) and len(rising) == 6
    click(page, "#rates-table-0 th:nth-child(4)")
    assert page.run(values) == rising[::-1]


def test_a_table_is_sorted_by_numbers_and_empty_cells_come_last(page):
    click(page, "#strata-table th:nth-child(7)")
    values = "[...document.querySelectorAll('#strata-table tbody tr')].map(r => Number(r.cells[6].dataset.order))"
    rising = page.run(values)
    assert rising == sorted(rising) and len(set(rising)) > 2


def test_the_strata_table_filters(page):
    rows = "[...document.querySelectorAll('#strata-table tbody tr')].map(r => r.innerText)"
    before = page.run(rows)
    page.run(
        "(s => { s.value = 'both'; s.dispatchEvent(new Event('change')); })(document.querySelector('#strata select[aria-label=Network]'))"
    )
    after = page.run(rows)
    assert 0 < len(after) <= 20 and before != after and all("both" in row for row in after)


def test_presets_sort_and_filter_stamps(page, context):
    rows = context.browser.rows
    assert page.run(SHOWN) == order(rows)[:48]
    click(page, "[data-preset=controls]")
    assert page.run(SHOWN) == order(rows[rows["label"] == 0])[:48]
    click(page, "[data-preset=positives]")
    assert page.run(SHOWN) == order(rows[rows["label"] == 1], ascending=True)[:48]
    click(page, "[data-preset=all]")


def test_any_column_sorts_and_filters(page, context):
    rows = context.browser.rows
    page.run("(s => { s.value = 'peak_snr'; s.dispatchEvent(new Event('change')); })(document.querySelector('[data-part=sort]'))")
    assert page.run(SHOWN) == order(rows, "peak_snr")[:48]
    page.run(
        "document.querySelector('[data-part=column]').value = 'mass_bin'; document.querySelector('[data-part=operator]').value = '=';"
        "document.querySelector('[data-part=value]').value = 'sis'; document.querySelector('[data-part=form]').requestSubmit()"
    )
    assert page.run(SHOWN) == order(rows[rows["mass_bin"] == "sis"], "peak_snr")[:48]
    assert f"of {(rows['mass_bin'] == 'sis').sum()} stamps" in page.run("document.querySelector('[data-part=said]').textContent")
    click(page, "[data-preset=all]")


def test_keys_walk_open_and_tick_and_ids_are_exported(page, context, downloads):
    wanted = order(context.browser.rows)
    click(page, "[data-preset=all]")
    page.run("document.querySelector('[data-part=grid]').focus({ preventScroll: true })")
    page.press("ArrowRight")
    page.press("x")
    page.press("Enter")
    assert page.run("document.querySelector('dialog').open") is True
    assert page.run("document.querySelector('[data-part=title]').textContent") == wanted[1]
    page.press("ArrowRight")
    page.press("x")
    assert page.run("document.querySelector('[data-part=title]').textContent") == wanted[2]
    page.run("(m => { m.checked = true; m.dispatchEvent(new Event('change')); })(document.querySelector('[data-part=mark]'))")
    assert page.run("document.querySelectorAll('.spot').length") == 2
    page.press("Escape")
    assert page.run("document.querySelector('dialog').open") is False
    click(page, "[data-part=export]")
    exported = downloads / "subhalo-stamp-ids.txt"
    page.wait(exported.exists, "the exported ids")
    assert exported.read_text().split() == sorted(wanted[1:3])
    click(page, "[data-part=clear]")
    assert page.errors == []


def test_a_sprite_is_the_stamp_that_its_card_names(page, context):
    click(page, "[data-preset=controls]")
    shown = page.run(SHOWN)
    places = page.run(
        "[...document.querySelectorAll('.card .sprite')].map(s => s.style)"
        ".map(s => [s.backgroundImage, s.backgroundPosition, s.width, s.height])"
    )
    row = {stamp: i for i, stamp in enumerate(context.browser.rows["stamp_id"])}
    for stamp, (image, position, width, height) in zip(shown, places, strict=True):
        sheet, inside = divmod(row[stamp], context.settings.sheet_stamps)
        x, y = (float(v.removesuffix("px")) for v in position.split())
        assert f"stamps-{sheet:03d}.png" in image
        # Four tiles to a row of a sheet.
        assert (-x / float(width[:-2]), -y / float(height[:-2])) == pytest.approx((inside % 4, inside // 4), abs=1e-3)
    click(page, "[data-preset=all]")


def test_charts_and_tables_are_printed(report):
    with chromium.Page(1280, 800) as page:
        page.open(report)
        page.wait(lambda: page.run("document.documentElement.dataset.ready === '1'"), "the tables")
        page.send("Emulation.setEmulatedMedia", media="print")
        height = "document.querySelector('{}').getBoundingClientRect().height"
        for shown in ("[data-chart=roc] svg", "[data-chart=history] svg", "#rates-table-0", "#strata-table", "#answer-table"):
            assert page.run(height.format(shown)) > 50, shown
        assert page.run(height.format("#stamps")) == 0


def test_a_wide_table_stands_as_blocks_on_a_phone(report):
    with chromium.Page(390, 844) as phone:
        phone.open(report)
        phone.wait(lambda: phone.run("document.documentElement.dataset.ready === '1'"), "the tables")
        for table in ("rates-table-0", "strata-table", "comparison-table-0"):
            assert phone.run(f"(t => t.scrollWidth <= t.parentElement.clientWidth)(document.getElementById('{table}'))"), table
        said = phone.run("getComputedStyle(document.querySelector('#rates-table-0 td:nth-child(2)'), '::before').content")
        assert said == '"Seed"'


def test_a_phone_shows_it_without_sideways_scrolling(report):
    with chromium.Page(390, 844) as phone:
        phone.open(report)
        assert phone.run("document.documentElement.scrollWidth") == 390
        assert phone.errors == []
