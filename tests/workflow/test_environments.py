"""The conda environments: what pip pins, what each rule's scripts import, and nothing else."""

import ast
import re
import sys
from pathlib import Path

import pytest
import yaml

from darkhaloscope.jobs.digest import closure

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = sorted(path.stem for path in (ROOT / "workflow/envs").glob("*.yaml"))

#: Names that differ: conda's package, pip's package, the module that is imported.
PIP_NAMES = {"matplotlib-base": "matplotlib", "pytorch-gpu": "torch", "pytorch-cpu": "torch"}
MODULES = {"scikit-learn": "sklearn", "pillow": "PIL", "pyyaml": "yaml"}

#: Not Python packages.
NOT_FROM_PIP = {"python", "cuda-version"}


def pip_pins():
    """Return the pinned version of every pip package; requirements.txt and constraints.txt agree on each."""
    pins = {}
    for name in ("constraints.txt", "requirements.txt"):
        for line in (ROOT / name).read_text().splitlines():
            package, separator, version = line.partition("==")
            if separator and not line.startswith("#"):
                package = re.sub(r"\[.*\]", "", package).lower().replace("_", "-")
                assert pins.setdefault(package, version) == version, f"{package} is pinned twice: {pins[package]} and {version}"
    return pins


def dependencies(environment):
    """Return the version of each package of an environment."""
    entries = yaml.safe_load((ROOT / f"workflow/envs/{environment}.yaml").read_text())["dependencies"]
    return dict(entry.split("=", 1) for entry in entries)


def rules_by_environment():
    """Return the rules that use each environment."""
    found = {}
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        for block in re.split(r"(?m)^(?=(?:rule|checkpoint) )", path.read_text()):
            name = re.match(r"(?:rule|checkpoint) (\w+):", block)
            if name:
                found.setdefault(re.search(r'conda:\s+"\.\./envs/(\w+)\.yaml"', block)[1], []).append(name[1])
    return found


def imported(rule):
    """Return the third-party modules that a rule's script imports, directly or through the library, and where."""
    found = {}
    for path in closure(ROOT / f"workflow/scripts/{rule}.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "resources.files" and isinstance(node.args[0], ast.Constant):
                names = [node.args[0].value]  # a package whose data files are read
            for name in (name.split(".")[0] for name in names):
                if name not in sys.stdlib_module_names and name != "darkhaloscope":
                    found.setdefault(name, f"{rule} through {path.relative_to(ROOT / 'workflow/scripts')}")
    return found


def modules(environment):
    """Return the modules that an environment's own entries give."""
    packages = [PIP_NAMES.get(name, name) for name in dependencies(environment) if name not in NOT_FROM_PIP]
    return {MODULES.get(name, name.replace("-", "_")) for name in packages}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_package_is_pinned_as_pip_pins_it(environment):
    pins = pip_pins()
    for package, version in dependencies(environment).items():
        if package not in NOT_FROM_PIP:
            assert pins[PIP_NAMES.get(package, package)] == version, f"{environment}.yaml: {package}={version}"


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_module_that_a_rule_imports_is_in_its_environment_and_nothing_else(environment):
    needed = {module: where for rule in rules_by_environment()[environment] for module, where in imported(rule).items()}
    lacking = {module: where for module, where in needed.items() if module not in modules(environment)}
    assert not lacking, f"{environment}.yaml lacks {lacking}"
    assert not modules(environment) - set(needed), f"{environment}.yaml holds what none of its rules imports"


def test_the_environments_are_of_conda_forge_alone_and_one_python():
    for environment in ENVIRONMENTS:
        content = yaml.safe_load((ROOT / f"workflow/envs/{environment}.yaml").read_text())
        assert content["channels"] == ["conda-forge", "nodefaults"], environment
        assert dependencies(environment)["python"] == "3.12", environment


def test_gpu_rules_get_a_cuda_build_of_torch_or_no_environment_at_all():
    assert "pytorch-gpu" in dependencies("learning") and dependencies("learning")["cuda-version"] == "12"
    gpu = {"train_network", "import_network", "mine_hard_negatives", "score_stamps", "score_known_lenses", "score_parents"}
    # A few thousand stamps are scored for the gates and for a head, and cutouts that the user brings, which a CPU does.
    assert set(rules_by_environment()["learning"]) == gpu | {"check_shortcuts", "fit_head", "explain_scores", "score_cutouts"}
    for environment in ENVIRONMENTS:
        # Plain `pytorch` is the CPU build wherever the solver sees no GPU.
        assert "pytorch" not in dependencies(environment), environment
