"""The profiles: what every run reads, and what the cluster would be asked for."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_the_default_profile_sets_nothing_that_a_cluster_profile_sets():
    default = yaml.safe_load((ROOT / "profiles/default/profile.yaml").read_text())
    slurm = yaml.safe_load((ROOT / "profiles/slurm/profile.yaml").read_text())
    assert not set(default) & set(slurm)
    assert "code" not in default["rerun-triggers"]


def test_the_slurm_profile_plans_from_the_root(project):
    assert (ROOT / "slurm").is_symlink()
    assert {"render_stamps", "train_network"} <= project.plan("--profile", "slurm", "--sdm", "env-modules", config="config/demo.yaml")


def test_the_slurm_profile_sends_the_gpu_rules_and_no_others_to_gpus():
    slurm = yaml.safe_load((ROOT / "profiles/slurm/profile.yaml").read_text())
    asked = slurm["set-resources"]
    assert {rule for rule, resources in asked.items() if resources.get("gpu")} == {"train_network", "score_stamps"}
    assert all(resources["gpu_model"] == "'gh200'" for resources in asked.values() if resources.get("gpu"))
    # Snakemake ignores a rule name that does not exist in silence.
    rules = {
        name
        for path in (ROOT / "workflow/rules").glob("*.smk")
        for name in re.findall(r"(?m)^(?:rule|checkpoint) (\w+):", path.read_text())
    }
    assert set(asked) <= rules


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


def test_conda_environments_pin_what_pip_pins():
    pins = dict(line.split("==") for line in (ROOT / "requirements.txt").read_text().splitlines() if "==" in line)
    names = {"matplotlib-base": "matplotlib", "pytorch": "torch"}
    for path in (ROOT / "workflow/envs").glob("*.yaml"):
        for entry in yaml.safe_load(path.read_text())["dependencies"]:
            if "=" in entry and not entry.startswith("python="):
                package, version = entry.split("=", 1)
                assert pins[names.get(package, package)] == version, f"{path.name}: {entry}"
