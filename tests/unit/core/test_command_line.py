"""Dotted keys on the command line become nested ones."""

import pytest
import yaml

from darkhaloscope.jobs.command_line import misplaced, nested


@pytest.mark.parametrize(
    ("entry", "key", "value"),
    [
        ("datasets.subhalo.seed=3", "datasets", {"subhalo": {"seed": 3}}),
        ("cosmology.h0=67.4", "cosmology", {"h0": 67.4}),
        ("manga.samples.dr17.base=file:///a/b=c/", "manga", {"samples": {"dr17": {"base": "file:///a/b=c/"}}}),
        ("cutouts.files=*_g.fits", "cutouts", {"files": "*_g.fits"}),
        ("cutouts.path=a, b's#2", "cutouts", {"path": "a, b's#2"}),
        ("cutouts.bands=[g, r, i]", "cutouts", {"bands": ["g", "r", "i"]}),
        ("cutouts.name=", "cutouts", {"name": None}),
        ("datasets.subhalo.lens.shear={uniform: [0, 0.1]}", "datasets", {"subhalo": {"lens": {"shear": {"uniform": [0, 0.1]}}}}),
    ],
)
def test_a_dotted_key_is_nested(entry, key, value):
    found, _, text = nested([entry])[0].partition("=")
    assert found == key and yaml.safe_load(text) == value


@pytest.mark.parametrize("entry", ["root=results/x.y", "scores=my scores.parquet", "run=[a.b]", "datasets={a: {b: 3}}"])
def test_any_other_edit_stays_as_it_is(entry):
    assert nested([entry]) == [entry]


@pytest.mark.parametrize(
    ("entries", "whole"),
    [
        (
            ["datasets.a.seed=3", "root=x", "datasets.a.size.test=5", "datasets.b.seed=4"],
            {"a": {"seed": 3, "size": {"test": 5}}, "b": {"seed": 4}},
        ),
        (["cutouts=mine", "root=x", "cutouts.bands=[g, r, i]"], {"path": "mine", "bands": ["g", "r", "i"]}),
        (["scores.name=x", "root=x", "scores=mine.parquet"], {"name": "x", "table": "mine.parquet"}),
    ],
)
def test_several_dotted_keys_of_one_section_are_one_edit(entries, whole):
    root, section = nested(entries)
    assert root == "root=x" and yaml.safe_load(section.partition("=")[2]) == whole


@pytest.mark.parametrize(
    "entries",
    [
        ["datasets.a.seed=3", "datasets.a.seed=4"],
        ["datasets.a.seed=3", "datasets.a=4"],
        ["datasets.a=4", "datasets.a.seed=3"],
        ["datasets={a: {}}", "datasets.a.seed=3"],
        ["cutouts={path: mine}", "cutouts.bands=[g]"],
        ["cutouts=mine", "cutouts.path=other"],
    ],
)
def test_a_key_that_is_given_twice_is_refused(entries):
    with pytest.raises(ValueError, match=r"`(datasets|cutouts)[\w.]*`.* (twice|whole)"):
        nested(entries)


def test_a_word_behind_config_that_is_no_edit_is_named():
    assert misplaced("results/tiny/index.html").endswith("a target stands ahead of --config")
    assert not misplaced("root=results/tiny")
