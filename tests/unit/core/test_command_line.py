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
        ("datasets.subhalo.lens.shear={uniform: [0, 0.1]}", "datasets", {"subhalo": {"lens": {"shear": {"uniform": [0, 0.1]}}}}),
    ],
)
def test_a_dotted_key_is_nested(entry, key, value):
    found, _, text = nested(entry).partition("=")
    assert found == key and yaml.safe_load(text) == value


@pytest.mark.parametrize("entry", ["root=results/x.y", "scores=my scores.parquet", "run=[a.b]", "datasets={a: {b: 3}}"])
def test_any_other_edit_stays_as_it_is(entry):
    assert nested(entry) == entry


def test_a_word_behind_config_that_is_no_edit_is_named():
    assert misplaced("results/tiny/index.html").endswith("a target stands ahead of --config")
    assert not misplaced("root=results/tiny")
