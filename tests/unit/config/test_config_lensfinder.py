"""Lens-finder datasets in the config: kinds, presets, errors in words."""

from pathlib import Path

import pytest

from darkhaloscope.config.experiment import LENSFINDER_STRATA, SUBHALO_STRATA, Stratum
from darkhaloscope.config.lensfinder import ImportedDataset, Injection, LensFinderDataset
from darkhaloscope.config.run import Run, load, validate
from darkhaloscope.config.wording import ConfigError
from darkhaloscope.tasks.lensfinder.schema import scalar_columns
from rule_files import rule_files

ROOT = Path(__file__).parents[3]


def test_the_default_config_has_the_earlier_generations_and_reads_back():
    run = Run()
    assert {"lensfinder", "lensfinder-v3", "lensfinder-v4"} <= set(run.datasets)
    assert Run.model_validate(run.plain()) == run
    assert run.datasets["lensfinder-v3"].controls == "paired" and run.datasets["lensfinder-v3"].camera.psf == "gaussian"
    assert sum(run.datasets["lensfinder-v4"].size.plain().values()) == 12_000_000


@pytest.mark.parametrize(("name", "cells"), [("v3", 3 * 2 * 2 * 2 * 2), ("v4", 9 * 4 * 3 * 3 * 2), ("gen5", 1)])
def test_presets_have_their_grids(name, cells):
    injection = LensFinderDataset.model_validate({"injection": name}).injection
    grid = [len(getattr(injection, k).choice) for k in Injection.model_fields if getattr(injection, k).kind == "choice"]
    product = 1
    for n in grid:
        product *= n
    assert product == cells


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"siz": {}}, "unknown key `datasets.x.siz` (nearest: `size`)"),
        ({"injection": {"theta_e": 1}}, "unknown key `datasets.x.injection.theta_e` (nearest: `theta_e_arcsec`)"),
        ({"injection": "v5"}, "no injection preset `v5` (known: v3, v4, gen5, gen6)"),
        ({"survey": "dr11"}, "datasets.x.survey names `dr11`, which does not exist (nearest: `dr10`)"),
        ({"controls": "paired", "hosts": {"replicates": 2}}, "set hosts.replicates to 1"),
        ({"sources": {"mix": {"manga": 1.0}}}, "manga sources need a sample"),
        ({"injection": {"theta_e_arcsec": 20}}, "beyond the stamp's half width"),
        ({"splits": {"fractions": {"train": 1.0}}}, "validation has 20000 stamps but no share of the sky"),
    ],
)
def test_errors_name_the_key(values, message):
    with pytest.raises(ConfigError) as error:
        validate({**Run().plain(), "datasets": {**Run().plain()["datasets"], "x": {"kind": "lensfinder", **values}}})
    assert message in str(error.value)


def test_an_unknown_kind_is_answered_with_the_known_ones():
    with pytest.raises(ConfigError, match="kind must be one of subhalo, lensfinder, imported"):
        validate({"datasets": {"x": {"kind": "lens"}}})


def test_cosmos_sources_of_a_real_survey_need_their_catalogue():
    experiment = {"question": "?", "dataset": "lensfinder", "detectors": ["flux"]}
    values = Run().plain()
    with pytest.raises(ConfigError, match=r"datasets\.lensfinder\.sources\.cosmos\.catalog"):
        validate({**values, "experiments": {**values["experiments"], "finder": experiment}})


def test_experiments_on_lens_finder_stamps_have_strata_of_their_columns():
    run = load({"extends": "config/demo-full.yaml"}, ROOT)
    assert run.experiments["lens-finder"].evaluation.strata == LENSFINDER_STRATA
    assert run.experiments["kinematics"].evaluation.strata != LENSFINDER_STRATA
    assert set(LENSFINDER_STRATA) <= {c.name for c in scalar_columns()}
    assert Run().experiments["subhalo"].evaluation.strata == SUBHALO_STRATA


def test_strata_are_laid_over_the_default_list_by_name():
    experiment = {"question": "?", "dataset": "subhalo", "detectors": ["flux"]}

    def strata(**evaluation):
        return validate({"experiments": {"subhalo": {**experiment, "evaluation": evaluation}}}).experiments["subhalo"].evaluation.strata

    cut = Stratum(edges=(20, 28, 40))
    assert strata(strata={"peak_snr": {"edges": [20, 28, 40]}}) == {**SUBHALO_STRATA, "peak_snr": cut}
    assert strata(strata={"magnification": {"quantiles": 3}, "galaxy_id": None}) == {
        **{k: v for k, v in SUBHALO_STRATA.items() if k != "galaxy_id"}, "magnification": Stratum(quantiles=3)
    }  # fmt: skip
    assert strata(strata={"peak_snr": {"edges": [20, 28, 40]}}, default_strata=False) == {"peak_snr": cut}
    assert strata() == SUBHALO_STRATA and strata(default_strata=False) == {}


def test_an_overlay_of_one_stratum_leaves_the_others(tmp_path):
    (tmp_path / "config").symlink_to(ROOT / "config")
    (tmp_path / "base.yaml").write_text("extends: config/demo-full.yaml")
    overlay = {"extends": "base.yaml", "experiments": {"subhalo": {"evaluation": {"strata": {"theta_over_psf": {"edges": [0, 5, 50]}}}}}}
    before, after = (load(values, tmp_path).experiments["subhalo"].evaluation for values in ({"extends": "base.yaml"}, overlay))
    assert len(before.strata) == 9 and after.strata == {**before.strata, "theta_over_psf": Stratum(edges=(0, 5, 50))}
    again = validate(load(overlay, tmp_path).plain()).experiments["subhalo"].evaluation
    assert again == after


def test_imported_datasets_count_their_shards():
    dataset = ImportedDataset(table="x", shard_counts={"train": 3, "test": 1})
    assert [dataset.shards(s) for s in ("train", "validation", "test")] == [3, 0, 1]
    with pytest.raises(ValueError, match="above 0"):
        ImportedDataset(table="x", shard_counts={"train": 0})


@pytest.mark.parametrize(
    ("evaluation", "message"),
    [
        ({"strata": {"psfsize_q": {}}}, "makes strata of `psfsize_q`, which does not exist (nearest: `psfsize_"),
        ({"strata": {"is_control": {"quantiles": 2}}}, "cuts `is_control` by edges or quantiles, but it holds yes or no"),
        ({"marginal_stamps": 5}, "a dataset of kind lensfinder has none: set marginal_stamps to 0"),
    ],
)
def test_what_lens_finder_stamps_cannot_be_asked_is_refused(evaluation, message):
    with pytest.raises(ConfigError) as error:
        load({"extends": "config/demo.yaml", "experiments": {"lens-finder": {"evaluation": evaluation}}}, ROOT)
    assert message in str(error.value)


def test_only_the_galaxies_of_a_survey_can_be_searched():
    with pytest.raises(ConfigError, match="experiments.subhalo.search ranks the galaxies of a survey, and dataset subhalo is of none"):
        load({"extends": "config/demo.yaml", "experiments": {"subhalo": {"search": {"make": True}}}}, ROOT)


def test_bands_have_no_two_streams():
    with pytest.raises(ConfigError, match="deep_dual_stream has a stream for flux and one for velocity, but channels bands has neither"):
        validate({"detectors": {"x": {"architecture": "deep_dual_stream", "channels": "bands"}}})


def test_batches_and_the_brick_cache_are_no_parameters():
    rules = rule_files({"extends": "config/demo.yaml", "datasets": {"old": {"kind": "imported", "table": "old.parquet"}}})
    assert rules.config["batch_sizes"]["lensfinder"] == 128 and "old" not in rules.config["batch_sizes"]
    assert rules.config["brick_cache_gb"] == rules.settings.legacysurvey.cache_gb
    assert rules.kernel_of("lensfinder") == rules.kernel_of("old") == []
