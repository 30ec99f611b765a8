"""How config files, edits and paths are read: what could be meant in two ways is refused, what a person means is taken."""

import math
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from darkhaloscope.config import presets
from darkhaloscope.config.cutouts import Cutouts
from darkhaloscope.config.observed import Observed
from darkhaloscope.config.run import Run, load, validate
from darkhaloscope.config.wording import ConfigError
from darkhaloscope.config.yaml_files import parse_yaml, read_yaml
from darkhaloscope.jobs.startup import edits

ROOT = Path(__file__).parents[3]


def written(folder, text, name="mine.yaml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "datasets:\n  subhalo: {seed: 5}\nrun: [subhalo]\ndatasets:\n  lensed: {seed: 6}\n",
            "line 4: duplicate key `datasets`, first in line 1",
        ),
        ("datasets:\n  subhalo:\n    seed: 5\n    seed: 6\n", "line 4: duplicate key `seed`, first in line 3"),
        ("sweeps: {a: {experiment: subhalo, grid: {x: [1], x: [2]}}}\n", "duplicate key `x`"),
        ('{"root": "a", "root": "b"}', "duplicate key `root`"),
        ("datasets:\n  null: {seed: 5}\n", "line 2: a key must be text, but `null` is read as None; put it in quotes"),
        ("datasets:\n  ~: {seed: 5}\n", "a key must be text"),
        ("detectors:\n  true: {width: 5}\n", "is read as True"),
        ("datasets:\n  [a, b]: {seed: 5}\n", "a key must be text"),
    ],
)
def test_what_a_file_says_twice_or_not_as_text_is_refused_with_its_line(tmp_path, text, words):
    path = written(tmp_path, text)
    for read in (lambda: load({}, ROOT, [path]), lambda: load({"extends": str(path)}, ROOT)):
        with pytest.raises(ConfigError) as error:
            read()
        assert words in str(error.value) and f"config file {path}, line" in str(error.value)


def test_a_key_twice_on_the_command_line_is_refused():
    given = SimpleNamespace(config_settings=SimpleNamespace(config={}, config_args=["datasets={subhalo: {seed: 5, seed: 6}}"]))
    with pytest.raises(ConfigError, match="--config datasets.* duplicate key `seed`"):
        edits(given)


@pytest.mark.parametrize(
    ("arguments", "line", "words"),
    [
        (["root=a", "root=b"], [], "`root` is given twice"),
        (["root=b"], ["snakemake", "--config", "root=a", "--config", "root=b"], "put all keys behind one --config"),
        (["root=b"], ["snakemake", "-C", "scores=a.csv", "--config=root=b"], "put all keys behind one --config"),
    ],
)
def test_what_the_command_line_says_twice_is_refused(monkeypatch, arguments, line, words):
    monkeypatch.setattr("sys.argv", line)
    with pytest.raises(ConfigError, match=words):
        edits(SimpleNamespace(config_settings=SimpleNamespace(config={"root": "b"}, config_args=arguments)))


@pytest.mark.parametrize(
    ("text", "key", "found"),
    [
        ("datasets.subhalo.seed: true", "datasets.subhalo.seed", "True"),
        ("datasets.subhalo.seed: 1_0", "datasets.subhalo.seed", "'1_0'"),
        ("datasets.subhalo.seed: '١٠'", "datasets.subhalo.seed", "'١٠'"),
        ("experiments.subhalo.seeds: [2, true]", "experiments.subhalo.seeds", "True in [2, True]"),
        ("experiments.subhalo.evaluation.fprs: [1_0e-4]", "experiments.subhalo.evaluation.fprs", "'1_0e-4' in"),
        ("detectors.flux.training.learning_rate: false", "detectors.flux.training.learning_rate", "False"),
        ("cutouts.psf_fwhm_arcsec: {g: 1.2, r: true}", "cutouts.psf_fwhm_arcsec", "True in {'g'"),
        ("datasets.subhalo.lens.shear: {uniform: [false, 0.1]}", "datasets.subhalo.lens.shear.uniform", "False in [False, 0.1]"),
        ("datasets.subhalo.lens.shear: false", "datasets.subhalo.lens.shear", "False"),
        ("datasets.subhalo.lens.shear: '1_0'", "datasets.subhalo.lens.shear", "'1_0'"),
        ("evidence.source_kernels: [[[0.3, true]]]", "evidence.source_kernels", "True in [[[0.3, True]]]"),
    ],
)
def test_what_is_no_number_is_not_taken_for_one(tmp_path, text, key, found):
    with pytest.raises(ConfigError) as error:
        load({}, ROOT, [written(tmp_path, text)])
    assert f" {key}: " in str(error.value) and "a number" in str(error.value) and f"found {found}" in str(error.value)


@pytest.mark.parametrize("number", [".inf", "-.inf", ".nan", "1e400"])
@pytest.mark.parametrize("key", ["detectors.flux.training.learning_rate", "cutouts.zero_point", "datasets.subhalo.lens.shear"])
def test_a_number_without_an_end_is_refused(tmp_path, key, number):
    with pytest.raises(ConfigError, match=rf"{re.escape(key)}.*finite number"):
        load({}, ROOT, [written(tmp_path, f"{key}: {number}")])


def test_edges_of_strata_may_be_open(tmp_path):
    run = load({}, ROOT, [written(tmp_path, "scores: {table: a.csv, evaluation: {strata: {snr: {edges: [5, 10, .inf]}}}}")])
    assert run.scores.evaluation.strata["snr"].edges == (5, 10, math.inf)


def test_numbers_as_text_and_booleans_in_their_places_are_taken(tmp_path):
    run = load({}, ROOT, [written(tmp_path, "datasets.subhalo.seed: '3'\nmanga.quality.min_vel_grad: ' 2.5e0 '")])
    assert run.datasets["subhalo"].seed == 3 and run.manga.quality.min_vel_grad == 2.5


def test_underscores_of_the_command_line_make_no_number():
    given = SimpleNamespace(config_settings=SimpleNamespace(config={"root": 202401, "seed": 5}, config_args=["root=2024_01", "seed=5"]))
    assert edits(given) == {"root": "2024_01", "seed": 5}


@pytest.mark.parametrize(("text", "read"), [("007", 7), ("1e3", 1000.0), ("2024", 2024), ("True", True)])
def test_paths_of_the_command_line_stay_as_they_are_written(text, read):
    for key in ("root", "scores", "cutouts"):
        given = SimpleNamespace(config_settings=SimpleNamespace(config={key: read}, config_args=[f"{key}={text}"]))
        assert edits(given) == {key: text}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("datasets.subhalo.seed: 5\ndatasets: {subhalo: {seed: 6}}\n", "datasets.subhalo.seed"),
        ("datasets: {subhalo: {seed: 6}}\ndatasets.subhalo.seed: 5\n", "datasets.subhalo.seed"),
        ("datasets.subhalo: {seed: 5}\ndatasets.subhalo.seed: 6\n", "datasets.subhalo.seed"),
        ("datasets.subhalo.lens.shear: 0.1\ndatasets.subhalo.lens: {shear: {uniform: [0, 0.1]}}\n", "datasets.subhalo.lens.shear"),
    ],
)
def test_a_dotted_key_of_what_a_section_says_too_is_refused(tmp_path, text, key):
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        load({}, ROOT, [path])
    assert f"`{key}` is given twice" in str(error.value) and str(path) in str(error.value)


def test_names_that_look_like_numbers_stay_as_they_are_written():
    assert list(parse_yaml("{1e3: 0, 007: 0, 0x10: 0, 1.50: 0, .nan: 0}", "text")) == ["1e3", "007", "0x10", "1.50", ".nan"]


@pytest.mark.parametrize(("text", "found"), [("root: 1e3", "1000.0"), ("root: ~", "None"), ("root: true", "True"), ("run: [007]", "7")])
def test_a_name_that_yaml_takes_for_something_else_is_to_be_quoted(tmp_path, text, found):
    with pytest.raises(ConfigError, match=rf"found {found}, as YAML reads what is not in quotes; put it in quotes"):
        load({}, ROOT, [written(tmp_path, text)])


def test_a_key_of_a_merged_mapping_may_be_given_again():
    assert parse_yaml("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\n", "text")["b"] == {"x": 3, "y": 2}


@pytest.mark.parametrize(("text", "line"), [("a: &a {b: *a}", 1), ("a: &a [*a]", 1), ("a: &a\n  b:\n    c: *a\n", 3)])
def test_an_alias_within_what_it_names_is_refused_with_its_line(tmp_path, text, line):
    with pytest.raises(ConfigError, match=rf"mine\.yaml, line {line}: `\*a` stands within what it names"):
        read_yaml(written(tmp_path, text))
    assert parse_yaml("a: &a {b: 1}\nc: *a\n", "text") == {"a": {"b": 1}, "c": {"b": 1}}


def test_numbers_and_booleans_are_those_of_yaml_1_2():
    found = parse_yaml("[3e-2, 1E5, +2e3, .5, 5., 010, 0o10, 0x1F, 1:30, no, off, 1_000, .inf, -3, 2020-01-01, true, ~]", "text")
    assert found == [0.03, 1e5, 2000.0, 0.5, 5.0, 10, 8, 31, "1:30", "no", "off", "1_000", math.inf, -3, "2020-01-01", True, None]
    assert [type(v) for v in found[:8]] == [float] * 5 + [int] * 3


def test_a_distribution_takes_a_number_with_an_exponent_alone(tmp_path):
    path = written(tmp_path, "datasets: {subhalo: {subhalo: {theta_e_factor: 3e-2}, lens: {shear: {uniform: [1e-3, 6e-2]}}}}\n")
    dataset = load({}, ROOT, [path]).datasets["subhalo"]
    assert dataset.subhalo.theta_e_factor.fixed == 0.03 and dataset.lens.shear.uniform == (0.001, 0.06)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfe\x00", "cannot be read as text (byte 0 is not UTF-8)"),
        (b"root: [a", "is not valid YAML"),
        (b"- a\n- b\n", "must hold keys and values, found a list"),
        (b"!!python/object/apply:os.system ['true']", "is not valid YAML"),
        (None, "does not exist"),
    ],
)
def test_a_file_that_is_no_config_is_named(tmp_path, content, words):
    path = tmp_path / "mine.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"config file {path}") as error:
        read_yaml(path)
    assert words in str(error.value)
    with pytest.raises(ConfigError, match="cannot be read as text"):
        read_yaml(tmp_path)


def test_dotted_keys_are_taken():
    run = load({"datasets.subhalo.seed": 3, "datasets": {"subhalo": {"shard_size": 7}}, "manga.samples.dr17.galaxies.n_top": 2}, ROOT)
    assert (run.datasets["subhalo"].seed, run.datasets["subhalo"].shard_size) == (3, 7)
    assert run.manga.samples["dr17"].galaxies.n_top == 2
    with pytest.raises(ConfigError, match=r"unknown key `datasets\.subhalo\.sed` \(nearest: `seed`\)"):
        load({"datasets.subhalo.sed": 3}, ROOT)


def test_files_are_laid_over_each_other_in_their_order(tmp_path):
    one = written(tmp_path, "extends: config/demo.yaml\ndatasets: {subhalo: {seed: 5, shard_size: 9}}\n", "one.yaml")
    two = written(tmp_path, "datasets: {subhalo: {seed: 6}}\n", "two.yaml")
    subhalo = load({"root": "elsewhere"}, ROOT, [one, two])
    assert (subhalo.datasets["subhalo"].seed, subhalo.datasets["subhalo"].shard_size, subhalo.root) == (6, 9, "elsewhere")


def test_presets_are_read_without_hidden_files_and_none_replaces_another(tmp_path, monkeypatch):
    folder = shutil.copytree(presets.FOLDER, tmp_path / "presets")
    monkeypatch.setattr(presets, "FOLDER", folder)
    (folder / "._subhalo.yaml").write_bytes(b"\0\5\26\7\xffmac")
    (folder / ".#subhalo.yaml").symlink_to("ada@desk.1234")
    assert "subhalo" in presets.preset("datasets")
    presets._files.cache_clear()
    shutil.copy(folder / "subhalo.yaml", folder / "subhalo copy.yaml")
    with pytest.raises(ConfigError, match=r"subhalo\.yaml: `datasets\.\w+` is in subhalo copy\.yaml, too, expected once"):
        presets.preset("datasets")


@pytest.mark.parametrize("root", ["results/x/", "./results/x", "results//x", "results/./x", "results/y/../x/"])
def test_a_root_has_one_name(root):
    assert Run(root=root).root == "results/x"


def test_a_root_below_the_working_folder_has_one_name_however_it_is_reached(tmp_path, monkeypatch):
    (tmp_path / "project").mkdir()
    (tmp_path / "disk").mkdir()
    (tmp_path / "alias").symlink_to(tmp_path / "project")
    (tmp_path / "project/linked").symlink_to(tmp_path / "disk")
    monkeypatch.chdir(tmp_path / "project")
    for root in ("results/x", f"{tmp_path}/project/results/x/", f"{tmp_path}/alias/results/x", "../project/results/x"):
        assert Run(root=root).root == "results/x"
    assert Run(root=f"{tmp_path}/project/linked").root == Run(root="linked").root == "linked"
    assert Run(root=f"{tmp_path}/disk/x").root == f"{tmp_path}/disk/x" and Run(root="../disk/x").root == "../disk/x"
    with pytest.raises(ConfigError, match="would mix results with what is there"):
        validate({"root": str(tmp_path / "project")})


def test_users_paths_are_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("SCRATCH", "/scratch/ada")
    assert (
        Run(root="~/dhs").root == "/home/ada/dhs"
        and Run(root="$SCRATCH/dhs/").root == Run(root="${SCRATCH}/dhs").root == "/scratch/ada/dhs"
    )
    (tmp_path / "base.yaml").write_text("root: results/base\n")
    monkeypatch.setenv("CONFIGS", str(tmp_path))
    assert load({"extends": "$CONFIGS/base.yaml"}, ROOT).root == "results/base"
    run = validate(
        {
            "scores": "~/scores.parquet",
            "manga": {"samples": {"dr17": {"base": "file://$SCRATCH/sas/"}}},
            "legacysurvey": {"surveys": {"dr10": {"known_lenses": {"mine": {"path": "~/lenses.csv"}}, "labels": {"path": "~/labels.csv"}}}},
        }
    )
    assert run.scores.table == "/home/ada/scores.parquet" and run.manga.samples["dr17"].base == "file:///scratch/ada/sas/"
    survey = run.legacysurvey.surveys["dr10"]
    assert survey.known_lenses["mine"].path == "/home/ada/lenses.csv" and survey.labels.path == "/home/ada/labels.csv"
    cutouts, observed = Cutouts(path="~/cutouts/", labels="$SCRATCH/labels.csv"), Observed(path="~/lenses/")
    assert (cutouts.path, cutouts.labels, observed.path) == ("/home/ada/cutouts/", "/scratch/ada/labels.csv", "/home/ada/lenses/")
    assert (cutouts.folder, observed.folder) == ("cutouts", "lenses")  # a slash at the end names no other results


@pytest.mark.parametrize("name", ["a{b}.parquet", "a<b>.parquet", "{}/a.parquet"])
def test_a_file_that_rules_would_take_for_a_pattern_is_refused(name):
    with pytest.raises(ConfigError) as error:
        validate({"scores": name})
    assert "scores.table: " in str(error.value) and "rename it, or link to it" in str(error.value)


def test_every_key_that_names_a_file_expands_it():
    """A new one is found by its words: fields whose description speaks of a path or a file are `FilePath`s or addresses."""
    wanted = {"kernel", "catalog", "table", "weights", "pretrained", "path", "root", "base"}
    schema = Run.model_json_schema()
    texts = {
        (name, key): value
        for name, model in {"Run": schema, **schema["$defs"]}.items()
        for key, value in model.get("properties", {}).items()
        if any(word in value.get("description", "") for word in ("Path of", " file,", "CSV file", "Folder that"))
    }
    assert {key for _, key in texts} <= wanted, texts.keys()


@pytest.mark.parametrize(
    ("root", "words"),
    [
        ("$NOWHERE_AT_ALL/x", "names the environment variable NOWHERE_AT_ALL, which is not set"),
        ("~nobody-of-that-name/x", "names a user whose home folder is not known"),
        ("results/{dataset}", "holds a character that stands for something else"),
        ("results/<x>", "holds a character that stands for something else"),
        ("", "at least 1 character"),
        (".", "would mix results with what is there"),
        ("./", "would mix results with what is there"),
        (str(ROOT), "would mix results with what is there"),
        (f"{ROOT}/workflow", "a folder of its code"),
        ("config/mine", "a folder of its code"),
        ("results/../.git", "a folder of its code"),
        ("~", "your home"),
        ("s3://bucket/run", "is an address, expected a folder; for object storage"),
        ("file:///scratch/run", "is an address, expected a folder"),
    ],
)
def test_a_root_that_is_not_what_it_seems_is_refused(root, words):
    assert "NOWHERE_AT_ALL" not in os.environ
    with pytest.raises(ConfigError) as error:
        validate({"root": root})
    assert words in str(error.value) and "root: " in str(error.value)


def test_keys_of_another_kind_name_the_kind():
    with pytest.raises(ConfigError) as error:
        validate({"datasets": {"mine": {"survey": "dr10", "injection": "v4"}}})
    assert "unknown key `datasets.mine.survey`: it is a key of kind `lensfinder`; set `datasets.mine.kind: lensfinder`" in str(error.value)
    with pytest.raises(ConfigError, match="it is a key of kind `imported`"):
        validate({"datasets": {"mine": {"table": "old.parquet"}}})
    with pytest.raises(ConfigError, match="it is a key of kind `subhalo`"):
        validate({"datasets": {"mine": {"kind": "imported", "table": "old.parquet", "instrument": {}}}})


def test_a_name_that_nothing_uses_and_is_nearly_anothers_is_told():
    said = load({"datasets": {"subhal": {"seed": 3}}, "detectors": {"fluxx": {"width": 4, "architecture": "toy"}}}, ROOT).idle()
    assert said == [
        "`datasets.subhal` is used by nothing that this run makes; is it `datasets.subhalo` that is meant?",
        "`detectors.fluxx` is used by nothing that this run makes; is it `detectors.flux` that is meant?",
    ]
    assert load({"datasets": {"mine": {"seed": 3}, "subhalo": {"seed": 3}}}, ROOT).idle() == []
    assert load({"datasets": {"subhal": {}}, "experiments": {"subhalo": {"dataset": "subhal"}}}, ROOT).idle() == []


def test_a_config_that_is_looked_for_beside_those_of_the_project_is_named(tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config/demo.yaml").touch()
    with pytest.raises(ConfigError, match=re.escape("demo.yaml does not exist (there is `config/demo.yaml`); give the path")):
        read_yaml(tmp_path / "demo.yaml")


def test_a_run_from_a_folder_of_the_projects_code_is_refused_in_words(monkeypatch):
    monkeypatch.chdir(ROOT / "docs")
    with pytest.raises(ConfigError, match="docs/results, which is the project.* run Snakemake from the project's root"):
        load({}, ROOT)


def test_cutouts_without_networks_of_bands_name_where_such_are():
    with pytest.raises(ConfigError, match="channels are `bands`, and the experiments have none; give the --configfile of a run"):
        load({"cutouts": "mine"}, ROOT)
