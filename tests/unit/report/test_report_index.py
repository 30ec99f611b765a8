"""The index and the page of run times: pictures, links, and what Snakemake measured."""

import pytest

from darkhaloscope.report.index import Summary, build_index, read_benchmarks, run_times_page

HEAD = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def test_run_times_add_up_and_a_broken_file_stops_nothing(tmp_path):
    (tmp_path / "train").mkdir()
    for name, seconds in (("a", 90.0), ("b", 30.5)):
        (tmp_path / f"train/{name}.tsv").write_text(f"{HEAD}{seconds}\t0:01:30\t512.25\t0\t0\t0\t0\t0\t50\t{seconds / 2}\n")
    (tmp_path / "index.tsv").write_text(f"{HEAD}0.5\t0:00:00\t-\t-\t-\t-\t-\t-\t0\t-\n")
    (tmp_path / "broken.tsv").write_text("<html>")
    found = read_benchmarks(tmp_path).set_index("rule")
    assert found.loc["train", "seconds"].sum() == pytest.approx(120.5) and "broken" not in found.index
    page = run_times_page(read_benchmarks(tmp_path), "index.html")
    assert "3 jobs took 2 min 01 s" in page and 'href="index.html"' in page
    # The rule that took longest in all comes first; what was not measured is a dash.
    assert page.index(">train<") < page.index(">index<") and "512" in page and "nan" not in page.split("<script")[0]


def test_an_experiment_is_shown_with_its_picture_and_the_run_with_its_pages():
    line = Summary(
        "lens", "How many?", "Many.", 0, 3, "experiments/lens/report/index.html", picture="experiments/lens/report/figures/overview.png"
    )
    page = build_index([line], pages={"Dataset sky": "datasets/sky/quality/index.html", "Run times": "run-times.html"})
    assert page.index(line.picture) < page.index("Many.") < page.index("How many?")
    assert 'href="datasets/sky/quality/index.html"' in page and 'href="run-times.html"' in page
