"""The profiles: what every run reads, and what the cluster would be asked for."""

import re
from pathlib import Path

import pytest
import yaml
from snakemake.profiles import ProfileConfigFileParser

from darkhaloscope.config.yaml_files import parse_yaml

ROOT = Path(__file__).parents[2]
SLURM = ROOT / "profiles/slurm/profile.yaml"

#: Rules that train or score.
GPU_RULES = {"train_network", "import_network", "mine_hard_negatives", "score_stamps", "score_known_lenses", "score_parents"}


def options(path=SLURM):
    """Return the command-line options that Snakemake makes of a profile."""
    with open(path, encoding="utf-8") as file:
        return ProfileConfigFileParser().parse(file)


def edited(folder, **values):
    """Return the options of the Slurm profile after a site has edited its block."""
    text = SLURM.read_text(encoding="utf-8")
    for name, value in values.items():
        text, n = re.subn(rf"(?m)^(  {name}: )\S+", rf"\g<1>{value}", text)
        assert n == 1, name
    path = folder / "profile.yaml"
    path.write_text(text, encoding="utf-8")
    return options(path)


def rules():
    """Return each rule and the text of its block."""
    blocks = {}
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        for block in re.split(r"(?m)^(?=(?:rule|checkpoint) )", path.read_text(encoding="utf-8")):
            if name := re.match(r"(?:rule|checkpoint) (\w+):", block):
                blocks[name[1]] = block
    return blocks


def test_the_default_profile_sets_nothing_that_a_cluster_profile_sets():
    default = yaml.safe_load((ROOT / "profiles/default/profile.yaml").read_text())
    assert not set(default) & set(options())
    assert "code" not in default["rerun-triggers"]


def test_the_slurm_profile_plans_from_the_root(project):
    assert (ROOT / "slurm").is_symlink()
    assert {"render_stamps", "train_network"} <= project.plan("--profile", "slurm", "--sdm", "env-modules", config="config/demo.yaml")


def test_every_rule_is_either_local_or_has_its_own_memory_and_time_that_grow():
    asked = dict(entry.split("=", 1) for entry in options()["set-resources"])
    jobs = {name for name, block in rules().items() if "localrule: True" not in block}
    # Snakemake ignores a rule name that does not exist in silence.
    assert {entry.split(":")[0] for entry in asked} == jobs
    for name in jobs:
        for resource in ("mem_mb", "runtime"):
            assert re.fullmatch(r"\d+ \* attempt", asked[f"{name}:{resource}"]), f"{name}: {resource}"
    assert options()["retries"] == "1"


def test_the_table_of_the_docs_says_where_each_rule_runs_with_which_memory_and_time():
    table = (ROOT / "docs/cluster.md").read_text(encoding="utf-8").split("## What runs where")[1].split("The second attempt")[0]
    said = {
        rule: line.split("|")
        for line in table.splitlines()
        for rule in re.findall(r"`([a-z]+_[a-z_]+)`", line.split("|")[1:2][0] if "|" in line else "")
    }
    asked = dict(entry.split("=", 1) for entry in options()["set-resources"])
    jobs = {name for name, block in rules().items() if "localrule: True" not in block}
    assert jobs == {rule for rule in said if "machine where Snakemake runs" not in said[rule][2]}
    for rule in sorted(jobs):
        _, _, where, _, memory, time, _ = said[rule]
        amount, unit = re.match(r" (\d+) (h|min)", time).groups()
        assert int(re.match(r" (\d+) GB", memory)[1]) * 1000 == int(asked[f"{rule}:mem_mb"].split()[0]), rule
        assert int(amount) * {"h": 60, "min": 1}[unit] == int(asked[f"{rule}:runtime"].split()[0]), rule
        assert where.strip().startswith("gh200" if rule in GPU_RULES else "cpu"), rule


def test_gpu_rules_and_no_others_ask_for_a_gpu_and_its_cpus():
    entries = options()["set-resources"]
    gpu = GPU_RULES
    # How many GPUs a training has says its rule, by the network's devices and nodes.
    for resource, value, rules_of in (
        ("gpu", "1", gpu - {"train_network"}),
        ("gpu_model", "gh200", gpu),
        ("slurm_partition", "gh200", gpu),
    ):
        assert {e for e in entries if f":{resource}=" in e} == {f"{rule}:{resource}={value}" for rule in rules_of}
    # `threads` and not `cpus_per_task`: torch and numpy keep to the first.
    assert {e.split("=")[0] for e in options()["set-threads"]} == gpu
    assert not any("cpus_per_task" in e for e in entries)


def test_a_site_edits_its_names_in_one_place(tmp_path):
    values = {"account": "p123", "cpu_partition": "standard", "gpu_partition": "grace", "gpu_model": "gh200.120gb", "max_gpus": "4"}
    site = edited(tmp_path, **values)
    assert "slurm_account=p123" in site["default-resources"] and "slurm_partition=standard" in site["default-resources"]
    assert "train_network:slurm_partition=grace" in site["set-resources"]
    assert "score_stamps:gpu_model=gh200.120gb" in site["set-resources"]
    assert "gpu=4" in site["resources"]
    text = "".join(str(value) for value in site.values())
    assert "astro" not in text and "'cpu'" not in text


def test_the_two_ways_to_deploy_differ_in_one_line(tmp_path):
    conda, venv = edited(tmp_path, software="conda"), edited(tmp_path, software="venv")
    assert {name for name in conda if conda[name] != venv[name]} == {"software-deployment-method"}
    assert conda == options() and conda["software-deployment-method"] == ["conda"]
    # What Snakemake calls the method that does nothing for rules without modules.
    assert venv["software-deployment-method"] == ["env-modules"]
    assert not any("envmodules" in block for block in rules().values())
    with pytest.raises(Exception, match="pip"):
        edited(tmp_path, software="pip")


def test_jobs_of_small_networks_can_share_a_gpu(tmp_path):
    whole, shared = options()["set-resources"], edited(tmp_path, gpu_shards="2")["set-resources"]
    # The rule of a training says one GPU, which a share of one is not.
    assert {*(f"{rule}:gres=shard:2" for rule in GPU_RULES), "train_network:gpu=0"} == set(shared) - set(whole)
    assert {entry for entry in shared if ":gpu=" in entry or ":gpu_model=" in entry} == {"train_network:gpu=0"}


def test_every_rule_has_what_a_rule_should_have():
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        text = path.read_text()
        blocks = re.split(r"(?m)^(?=(?:rule|checkpoint) )", text)
        for block in blocks:
            if not block.startswith(("rule", "checkpoint")):
                continue
            for key in (
                '"""',
                "output:",
                "params:",
                "log:",
                "benchmark:",
                "conda:",
                "resources:",
                "mem_mb",
                "runtime",
                "message:",
                "script:",
            ):
                assert key in block, f"{path.name}: {block.splitlines()[0]} lacks {key}"


def test_every_rule_has_a_thin_script_of_its_name():
    rules = [
        name
        for path in (ROOT / "workflow/rules").glob("*.smk")
        for name in re.findall(r"(?m)^(?:rule|checkpoint) (\w+):", path.read_text())
    ]
    for name in rules:
        script = ROOT / f"workflow/scripts/{name}.py"
        assert script.is_file() and len(script.read_text().splitlines()) < 60, name
    assert {p.stem for p in (ROOT / "workflow/scripts").glob("*.py")} == set(rules)


@pytest.mark.parametrize("profile", sorted((ROOT / "profiles").glob("*/*.yaml")), ids=lambda path: path.parent.name)
def test_no_key_of_a_profile_comes_twice(profile):
    """YAML's own readers keep the last one without a word."""
    assert parse_yaml(profile.read_text(encoding="utf-8"), str(profile))
