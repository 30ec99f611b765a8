"""The config: defaults, overlays, errors in words, sweeps, and the files generated from it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from darkhaloscope.config.base import NAME_PATTERN, Distribution
from darkhaloscope.config.columns import COLUMNS, NUMBER, TEXT, YES_NO
from darkhaloscope.config.kinds import DATASET_KINDS
from darkhaloscope.config.run import Run, load, validate
from darkhaloscope.config.sweeps import expand
from darkhaloscope.config.wording import ConfigError
from darkhaloscope.config.written import main
from darkhaloscope.config.yaml_files import merge, parse_yaml, read_yaml
from darkhaloscope.generate import files
from darkhaloscope.tasks.lensfinder import schema as lensfinder
from darkhaloscope.tasks.subhalo import schema
from rule_files import rule_files

ROOT = Path(__file__).parents[3]


def test_generated_files_have_not_drifted():
    for path, text in files().items():
        assert path.read_text(encoding="utf-8") == text, f"{path} differs from the models: run `make generate`"


def test_the_config_for_people_is_short_and_stands_at_the_defaults():
    text = (ROOT / "config/config.yaml").read_text()
    assert len(text.splitlines()) < 150
    assert load({}, ROOT) == Run()


def test_the_full_expansion_reads_back_as_the_run(tmp_path, capsys):
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("extends: config/demo.yaml\ndatasets.subhalo.seed: 7\n")
    assert main([str(overlay), "--to", str(tmp_path / "all.yaml")]) == 0
    run = validate(read_yaml(tmp_path / "all.yaml"))
    assert run == load({}, ROOT, [overlay]) and run.datasets["subhalo"].seed == 7
    assert main([]) == 0 and validate(parse_yaml(capsys.readouterr().out, "output")) == Run()
    overlay.write_text("datasets: {subhalo: {sed: 1}}\n")
    assert main([str(overlay)]) == 1 and "nearest: `seed`" in capsys.readouterr().err
    overlay.unlink()
    assert main(["--to", str(tmp_path / "nowhere/all.yaml")]) == 1 and "name a file in a folder that is there" in capsys.readouterr().err


def test_a_file_takes_the_default_strata_away_from_an_experiment_of_the_presets(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "experiments: {subhalo: {evaluation: {default_strata: false, strata: {peak_snr: {edges: [10, 20, 30]}}}}}"
    )
    assert list(load({}, ROOT, [tmp_path / "mine.yaml"]).experiments["subhalo"].evaluation.strata) == ["peak_snr"]
    (tmp_path / "mine.yaml").write_text("experiments: {subhalo: {evaluation: {strata: {peak_snr: {edges: [10, 20, 30]}}}}}")
    assert len(load({}, ROOT, [tmp_path / "mine.yaml"]).experiments["subhalo"].evaluation.strata) > 1


@pytest.mark.parametrize(
    "name",
    ["demo.yaml", "demo-full.yaml", "real-sample.yaml", "subhalo-reference.yaml", "evidence-reference.yaml", "lensfinder-reference.yaml"],
)
def test_every_overlay_is_valid_and_fits_the_schema(name):
    overlay = yaml.safe_load((ROOT / "config" / name).read_text())
    run = load(overlay, ROOT)
    schema = json.loads((ROOT / "workflow/schemas/config.schema.json").read_text())
    assert [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(run.plain())] == []
    assert run.run == tuple(overlay["run"])


def test_every_key_is_described():
    schema = Run.model_json_schema()
    undescribed = [
        f"{name}.{key}"
        for name, model in {"Run": schema, **schema["$defs"]}.items()
        for key, value in model.get("properties", {}).items()
        if not value.get("description")
    ]
    assert undescribed == []


def evaluated(**settings):
    return {"experiments": {"subhalo": {"evaluation": settings}}}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"manga": {"qualty": {}}}, ["unknown key `manga.qualty`", "nearest: `quality`"]),
        ({"datasets": {"subhalo": {"lens": {"theta_E": 1}}}}, ["datasets.subhalo.lens.theta_E", "theta_e_arcsec"]),
        ({"run": ["subhalos"]}, ["`subhalos`", "nearest: `subhalo`"]),
        (
            {
                "experiments": {
                    "subhalo": {"question": "?", "dataset": "subhalo", "detectors": ["flux", "both", "velocity", "shuffled", "fluxx"]}
                }
            },
            ["`fluxx`", "nearest: `flux`", "detectors"],
        ),
        (
            {"datasets": {"subhalo": {"splits": {"assigned": {"train": ["8593-12705"], "test": ["8593-12705"]}}}}},
            ["8593-12705", "named twice", "train", "test"],
        ),
        (
            {"datasets": {"subhalo": {"instrument": {"pixel_scale_arcsec": 0.3}}}},
            ["cannot sample a PSF", "0.3", "psf.kind: none"],
        ),
        ({"datasets": {"subhalo": {"splits": {"fractions": {"train": 0.9, "test": 0.3}}}}}, ["add up to 1", "1.2"]),
        ({"datasets": {"subhalo": {"sources": {"sample": "dr71"}}}}, ["`dr71`", "nearest: `dr17`"]),
        ({"datasets": {"subhalo": {"lens": {"redshift": 2.0}}}}, ["not in front of"]),
        ({"datasets": {"subhalo": {"lens": {"shear": {"uniform": [0.2, 0.1]}}}}}, ["wrong order"]),
        ({"datasets": {"subhalo": {"lens": {"shear": {"uniform": [0, 0.1], "choice": [1]}}}}}, ["exactly one of"]),
        ({"datasets": {"subhalo": {"size": {"test": 11}}}}, ["even number"]),
        ({"manga": {"samples": {"dr17": {"base": "ftp://x"}}}}, ["manga.samples.dr17.base", "ftp://x"]),
        ({"manga": {"samples": {"dr17": {"galaxies": {"n_top": 0, "listed": []}}}}}, ["no galaxy is asked for"]),
    ],
)
def test_wrong_configs_are_refused_in_words(values, words):
    with pytest.raises(ConfigError) as error:
        validate(merge(Run().plain(), values))
    for word in words:
        assert word in str(error.value)


def test_overlays_replace_lists_and_distributions_and_merge_the_rest():
    base = {"lens": {"shear": {"uniform": [0, 1]}, "e": 1}, "names": [1, 2], "mix": {"a": 0.5, "b": 0.5}}
    overlay = {"lens": {"shear": {"choice": [3]}}, "names": [5], "mix": {"a": 1.0}}
    assert merge(base, overlay) == {"lens": {"shear": {"choice": [3]}, "e": 1}, "names": [5], "mix": {"a": 1.0}}


def test_extends_lays_files_over_each_other_and_refuses_circles(tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.yaml").write_text("root: a\n")
    (tmp_path / "b.yaml").write_text("root: b\ndownloads: {retries: 1}\n")
    run = load({"extends": "b.yaml", "downloads": {"timeout_s": 5}}, tmp_path)
    assert (run.root, run.downloads.retries, run.downloads.timeout_s) == ("b", 1, 5)
    (tmp_path / "b.yaml").write_text("extends: c.yaml\n")
    (tmp_path / "c.yaml").write_text("extends: b.yaml\n")
    with pytest.raises(ConfigError, match="circle"):
        load({"extends": "b.yaml"}, tmp_path)
    with pytest.raises(ConfigError, match="does not exist"):
        load({"extends": "absent.yaml"}, tmp_path)
    for wrong in (["b.yaml"], 3, {"b.yaml": 1}):
        with pytest.raises(ConfigError, match="`extends` must be the path of one config file.*found"):
            load({"extends": wrong}, tmp_path)


@pytest.mark.parametrize(("kind", "table"), [("subhalo", schema), ("lensfinder", lensfinder), ("imported", lensfinder)])
def test_columns_of_strata_are_those_of_the_stamps(kind, table):
    kinds = {"string": TEXT, "bool": YES_NO, "int8": NUMBER, "int32": NUMBER, "int64": NUMBER, "float64": NUMBER}
    assert COLUMNS[kind] == {c.name: kinds[c.dtype] for c in table.scalar_columns()}


def test_every_kind_of_dataset_has_its_columns():
    assert set(COLUMNS) == set(DATASET_KINDS)


def test_reading_the_config_needs_no_array_library():
    """The Snakefile is parsed again in every cluster job."""
    heavy = "print({m for m in ('numpy', 'pyarrow', 'torch', 'astropy') if m in sys.modules})"
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'workflow/scripts')!r}); import darkhaloscope.jobs.startup, darkhaloscope.config.run; {heavy}"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"


def test_a_bare_number_is_a_distribution():
    assert Distribution.model_validate(3).bounds == (3.0, 3.0)
    assert Distribution.model_validate({"choice": [2, 1]}).bounds == (1.0, 2.0)


@pytest.mark.parametrize("bounds", [(6.0, 7.0), (-9.0, -4.0)])
def test_bounds_that_hold_nothing_of_a_normal_distribution_are_refused(bounds):
    with pytest.raises(ValueError, match="more than 30 standard deviations beyond its bounds"):
        Distribution(normal=(2.0, 0.1, *bounds))


def sweep(grid):
    return validate(merge(Run().plain(), {"run": ["s"], "sweeps": {"s": {"experiment": "subhalo", "grid": grid}}}))


def test_a_sweep_makes_only_what_its_points_change():
    run, points = expand(sweep({"dataset.subhalo.theta_e_factor": [0.03, 0.1], "detector.training.epochs": [20, 5]}))
    assert len(points["s"]) == 4
    # 0.03 and 20 are the defaults: those points keep the names of the dataset and of the networks.
    assert set(run.datasets) - set(Run().datasets) == {"subhalo+theta_e_factor=0.1"}
    assert {n for n in run.detectors if n.startswith("flux+")} == {"flux+epochs=5"}
    by_values = {tuple(p.values.values()): run.experiments[p.experiment] for p in points["s"]}
    assert by_values[0.03, 20].dataset == "subhalo" and by_values[0.03, 20].detectors[0] == "flux"
    assert by_values[0.1, 5].dataset == "subhalo+theta_e_factor=0.1" and by_values[0.1, 5].detectors[0] == "flux+epochs=5"
    assert by_values[0.1, 5].comparisons[0] == ("flux+epochs=5", "both+epochs=5")


def test_points_that_are_the_same_are_made_once():
    grids = {
        "a": {"dataset.subhalo.theta_e_factor": [0.03, 0.1]},
        "b": {"dataset.subhalo.theta_e_factor": [0.1, 0.2]},
        "c": {"dataset.instrument.noise.velocity_floor_kms": [6]},
        "d": {"dataset.sources.disk.bulge_fraction": [0.5], "detector.training.epochs": [20]},
    }
    sweeps = {name: {"experiment": "subhalo", "grid": grid} for name, grid in grids.items()}
    run, points = expand(validate(merge(Run().plain(), {"run": list(grids), "sweeps": sweeps})))
    assert points["a"][0].experiment == "subhalo"  # where nothing changes, the experiment itself
    assert points["a"][1].experiment == points["b"][0].experiment == "subhalo+theta_e_factor=0.1"
    assert len(run.experiments) == len(Run().experiments) + 4
    assert run.experiments["subhalo"] == Run().experiments["subhalo"]


def test_keys_with_the_same_last_word_do_not_share_a_name():
    sweeps = {
        "s": {"experiment": "subhalo", "grid": {"dataset.sources.redshift": [1.4]}},
        "t": {"experiment": "subhalo", "grid": {"dataset.lens.redshift": [0.4]}},
    }
    _, points = expand(validate(merge(Run().plain(), {"run": ["s", "t"], "sweeps": sweeps})))
    assert [p.experiment for p in (*points["s"], *points["t"])] == ["subhalo+sources.redshift=1.4", "subhalo+lens.redshift=0.4"]


def test_experiments_share_the_scores_of_a_network():
    copy = {"question": "Again?", "dataset": "subhalo", "detectors": ["flux", "mask"], "seeds": [1]}
    rules = rule_files({"experiments": {"again": copy}})
    assert set(rules.scores("again", "flux")) < set(rules.scores("subhalo", "flux"))


def test_points_of_a_sweep_have_names_of_their_own_that_paths_take():
    grid = {"detector.architecture": ["toy", "timm:resnet10t"], "detector.training.learning_rate": [0.001, 0.0010000001]}
    run, points = expand(sweep(grid))
    names = [p.experiment for p in points["s"]]
    assert len(set(names)) == 4 and all(re.fullmatch(NAME_PATTERN, n) for n in names)
    assert "subhalo+architecture=timm-resnet10t+learning_rate=0.0010000001" in names
    rates = {run.detectors[run.experiments[n].detectors[0]].training.learning_rate for n in names}
    assert rates == {0.001, 0.0010000001}
    # Values that differ only in what paths do not take would share results.
    with pytest.raises(ConfigError, match=r"makes `flux\+description=a-b`, but another of that name differs"):
        expand(sweep({"detector.description": ["a b", "a/b"]}))
    many = {f"dataset.lens.{k}": [0.01, 0.02] for k in ("shear", "ellipticity", "multipole_m3", "multipole_m4")}
    many |= {f"dataset.instrument.noise.{k}": [4.0, 6.0] for k in ("velocity_floor_kms", "velocity_min_snr")}
    _, points = expand(sweep(many))
    names = [p.experiment for p in points["s"]]
    assert len(set(names)) == 64 and max(map(len, names)) <= 120


def test_what_is_called_like_a_distribution_is_merged_like_anything_else():
    merged = merge(
        {"datasets": {"subhalo": {"seed": 1}}, "x": {"uniform": [0, 1]}}, {"datasets": {"uniform": {"seed": 2}}, "x": {"choice": [1]}}
    )
    assert merged == {"datasets": {"subhalo": {"seed": 1}, "uniform": {"seed": 2}}, "x": {"choice": [1]}}


def test_galaxies_that_are_set_aside_leave_their_place_in_the_ranking_to_the_next(tmp_path):
    ranking = tmp_path / "ranking.csv"
    ranking.write_text("rank,galaxy_id\n1,1000-11101\n2,2000-22202\n3,3000-33303\n4,4000-44404\n")
    rules = rule_files({"manga": {"samples": {"dr17": {"galaxies": {"n_top": 2, "set_aside": ["1000-11101"], "listed": ["9000-99909"]}}}}})
    assert rules.chosen(rules.settings.manga.samples["dr17"].galaxies, lambda: str(ranking)) == ["2000-22202", "3000-33303", "9000-99909"]
    assert load({}, ROOT).manga.samples["dr17"].galaxies.set_aside == ("9487-9102", "11982-9102", "11013-6101")
    with pytest.raises(ConfigError, match="set_aside and listed both name 1000-11101"):
        load({"manga": {"samples": {"dr17": {"galaxies": {"set_aside": ["1000-11101"], "listed": ["1000-11101"]}}}}}, ROOT)


def test_sweeps_refuse_unknown_keys_and_bad_values():
    with pytest.raises(ConfigError, match="different values"):
        sweep({"dataset.subhalo.theta_e_factor": [10, 10.0]})
    with pytest.raises(ConfigError, match="theta_e_facto"):
        expand(sweep({"dataset.subhalo.theta_e_facto": [1]}))
    with pytest.raises(ConfigError, match="dataset.lens.shear"):
        expand(sweep({"dataset.lens.shear": [0.9]}))
    for value in (True, "1_0"):  # the seed is 1 without a sweep
        with pytest.raises(ConfigError, match="seed: expected a number, found"):
            expand(sweep({"dataset.seed": [2, value]}))
    with pytest.raises(ConfigError, match="must begin with"):
        sweep({"lens.shear": [0.1]})


def test_an_address_that_holds_a_login_is_refused_and_not_shown():
    for base in ("https://me:hidden@host/archive/", "s3://me:hidden@bucket/dr17"):
        with pytest.raises(ConfigError, match="base: holds a login") as caught:
            validate({"manga": {"samples": {"mine": {"base": base, "galaxies": {"n_top": 3, "listed": []}}}}})
        assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"run": "subhalo"}, "run: expected a list, found 'subhalo'; write [subhalo]"),
        (
            {"experiments": {"subhalo": {"comparisons": ["flux", "both"]}}},
            "comparisons.0: expected a list, found 'flux'; each entry is a list of its own, as in [[a, b], [c, d]]",
        ),
        (
            {"experiments": {"mine": {"dataset": "subhalo", "detectors": ["flux"]}}},
            "experiments.mine.question: is needed, and is not there",
        ),
        (
            {"datasets": {"my data": {}}},
            "datasets.my data: expected a name of letters, digits and _ . = + -, which begins with a letter or a digit, found 'my data'",
        ),
        (
            {"manga": {"samples": {"mine": {"base": "/data/maps"}}}},
            "manga.samples.mine.base: expected an address that begins with https://, http://, s3:// or file://, found '/data/maps'",
        ),
        ({"datasets": {"subhalo": 3}}, "datasets.subhalo: expected a section of keys and values, found 3"),
        ({"experiments": {"subhalo": {"seeds": 2}}}, "experiments.subhalo.seeds: expected a list, found 2; write [2]"),
    ],
)
def test_one_value_in_place_of_a_list_or_a_section_is_said_in_words(values, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        load(values, ROOT)
