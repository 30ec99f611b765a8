"""Observed lenses that the user brings, from the command line: what is planned, and what is said where the folder is wrong."""

import re

import numpy as np
from astropy.io import fits

from darkhaloscope.core.files import write_text
from darkhaloscope.jobs.provenance import record
from observed_lens import simulate, write

RULES = {"look_at_lens", "gather_lenses", "show_lenses"}


def test_a_folder_of_lenses_plans_its_own_rules_alone(project):
    for name in ("J1", "J2"):
        write(project.folder / "mine" / name, np.zeros((40, 40)), np.ones((40, 40)), np.ones((3, 3)) / 9)
    assert project.plan("--config", "observed=mine") == RULES
    jobs = project.touch_run("--config", "observed=mine")
    assert jobs == {"look_at_lens": 2, "gather_lenses": 1, "show_lenses": 1}
    # Of the sensitivity of stamps the mass function alone concerns lenses; what scores stamps does not.
    assert project.plan("--config", "observed=mine", "evidence={sensitivity: {threshold: 4, kept: 0.9}, strength: [1, 0.1]}") == set()
    assert project.plan("--config", "observed=mine", "evidence={sensitivity: {fraction: 0.02}}") == RULES
    # Places that are asked about in one lens concern that one alone.
    asked = project.touch_run("--config", "observed={path: mine, subhalos: {asked: {J2: [[0, 1]]}}}")
    assert asked == {"look_at_lens": 1, "gather_lenses": 1, "show_lenses": 1}


def test_a_folder_that_is_not_there_is_named_with_a_remedy(project):
    said = project.snakemake("--dry-run", "--config", "observed=nowhere", check=False)
    assert "nowhere: expected a folder of observed lenses" in said and "--config observed=FOLDER" in said
    write(project.folder / "mine/J1", np.zeros((40, 40)), np.ones((40, 40)), np.ones((3, 3)) / 9)
    said = project.snakemake("--dry-run", "--config", "observed={path: mine, lenses: [J9]}", check=False)
    assert "observed.lenses names J9, which mine does not hold" in said
    said = project.snakemake("--dry-run", "--config", "observed={path: mine, subhalos: {asked: {J9: [[0, 1]]}}}", check=False)
    assert "observed.subhalos.asked names J9, which mine does not hold" in said


def test_a_folder_of_the_same_name_does_not_replace_the_results_of_the_first(project, monkeypatch):
    for folder in ("one/lenses", "two/lenses"):
        write(project.folder / folder / "J1", np.zeros((40, 40)), np.ones((40, 40)), np.ones((3, 3)) / 9)
    monkeypatch.chdir(project.folder)
    table = "results/tiny/observed/lenses/lenses.csv"
    write_text(table, "name\n")
    record("gather_lenses", {"observed": "lenses"}, {"observed": {"path": "one/lenses"}, "code": "abc"}, [], [table])
    said = project.snakemake("--dry-run", "--config", "observed=two/lenses", check=False)
    assert "results/tiny/observed/lenses holds the results of one/lenses, another folder of lenses than two/lenses" in said
    assert project.plan("--config", "observed={path: two/lenses, name: second}") == RULES
    # The first folder again, by another way to write its path: as ever, what differs is told.
    assert "another folder of lenses" not in project.snakemake("--dry-run", "--config", "observed=./one/lenses/", check=False)


def test_two_lenses_go_from_files_to_a_page(project):
    """One with arcs, and one without, which is said and stops nothing."""
    for name, arcs in (("J1", True), ("J2", False)):
        image, noise, psf, _ = simulate(seed=4, arcs=arcs)
        write(project.folder / "mine" / name, image, noise, psf)
    quick = "observed={path: mine, fit: {draws: 64, starts: 6, finalists: 2}, subhalos: {controls: 2, injections: 1, place_step: 5, asked: {J1: [[0.8, 0.6]]}}}"
    project.snakemake("--config", quick, cores=1)
    folder = project.folder / "results/tiny/observed/mine"
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64") == 1 and "no arcs found" in page
    assert re.search(
        r"J1, injected at the places that were asked about and found there: \d of 1 of 10⁹, \d of 1 of 10⁹·⁵, \d of 1 of 10¹⁰ M☉",
        page,
    )
    table = (folder / "lenses.csv").read_text(encoding="utf-8").splitlines()
    assert len(table) == 3 and table[1].startswith("J1,")
    assert project.plan("--config", quick) == set()
    assert fits.getdata(project.folder / "mine/J1/image.fits").shape == (121, 121)
