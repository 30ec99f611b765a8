"""`snakemake --report`: the run's own pages, figures and tables with captions, in one archive."""

import json
import re
import zipfile

import pytest

RESULTS = "results/tiny"


@pytest.fixture(scope="module")
def made(finished, tmp_path_factory):
    """The finished run, and the report that Snakemake makes of it: the archive, and what its page says of each result."""
    project = finished.copy(tmp_path_factory.mktemp("report") / "project")
    project.snakemake("--report", "report.zip")
    archive = zipfile.ZipFile(project.folder / "report.zip")
    page = archive.read("report/report.html").decode("utf-8")
    described = json.loads(re.search(r"(?m)^\s*var results = (\{.*\});?\s*$", page)[1])
    return project.folder, archive, described


def test_it_holds_the_report_page_the_source_figures_and_the_tables_byte_by_byte(made):
    folder, archive, described = made
    experiment = folder / RESULTS / "experiments/subhalo"
    figures = sorted((folder / RESULTS / "manga/mock/tensors").glob("*.png"))
    tables = [experiment / f"evaluation/{network}/{name}.csv" for network in ("flux", "velocity", "both") for name in ("rates", "strata")]
    dataset = [folder / RESULTS / f"datasets/subhalo/quality/{name}" for name in ("index.html", "distributions.csv")]
    expected = [experiment / "report/index.html", experiment / "evaluation/comparison.csv", *dataset, *figures, *tables]
    assert len(figures) > 3
    assert set(described) == {str(path.relative_to(folder)) for path in expected}
    assert sorted(archive.read(n) for n in archive.namelist() if "/data/" in n) == sorted(path.read_bytes() for path in expected)


def test_every_result_has_its_caption_and_label(made):
    _, _, described = made
    assert all(result["caption"] and result["labels"] for result in described.values())
    page = described[f"{RESULTS}/experiments/subhalo/report/index.html"]
    assert "Report of experiment subhalo." in page["caption"] and page["labels"] == {"experiment": "subhalo"}


def test_the_pages_in_it_show_figures(made):
    _, archive, _ = made
    pages = [archive.read(name).decode("utf-8") for name in archive.namelist() if name.endswith("/index.html")]
    assert len(pages) == 2  # the experiment's report and the dataset's page
    assert all("<figure" in page and page.count("<svg") + page.count("data:image/") > 10 for page in pages)
