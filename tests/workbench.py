"""A copy of the project in a folder of its own, and ways to run Snakemake in it."""

import functools
import json
import os
import re
import shutil
import sys
from collections import Counter
from pathlib import Path

import yaml

import forking
from darkhaloscope.jobs import digest

ROOT = Path(__file__).parents[1]
PARTS = ("Snakefile", "workflow", "config", "profiles", "slurm")
#: Rules in the order of the chain.
CHAIN = [
    "make_mock_archive",
    "retrieve_catalogs",
    "rank_disks",
    "retrieve_maps",
    "inspect_maps",
    "draw_inspection",
    "score_lensability",
    "show_galaxies",
    "build_source_tensor",
    "normalise_source_tensor",
    "build_source_bank",
    "build_manifest",
    "render_stamps",
    "check_stamps",
    "build_dataset_page",
    "train_network",
    "score_stamps",
    "evaluate_scores",
    "compare_networks",
    "observe_marginal",
    "choose_examples",
    "judge_experiment",
    "collect_sweep",
    "build_report",
    "build_index",
]


class Project:
    """A copy of the project in a folder of its own, and ways to run Snakemake in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def command(self, *arguments: str, config: str | None = "tests/tiny.yaml", cores: int = 2) -> list[str]:
        """Return a Snakemake command line."""
        overlay = ["--configfile", config] if config else []
        return [sys.executable, "-m", "snakemake", "--cores", str(cores), *arguments, *overlay]

    def snakemake(self, *arguments: str, config: str | None = "tests/tiny.yaml", cores: int = 2, check: bool = True) -> str:
        """Run Snakemake and return all that it printed."""
        status, output = forking.run(self.command(*arguments, config=config, cores=cores)[3:], self.folder, environment(), 1200)
        if check:
            assert status == 0, output[-6000:]
        return output

    def plan(self, *arguments: str, config: str | None = "tests/tiny.yaml") -> set[str]:
        """Return the rules that a dry run plans."""
        return planned(self.snakemake("--dry-run", *arguments, config=config))

    def touch_run(self, *arguments: str, config: str | None = "tests/tiny.yaml") -> Counter[str]:
        """Run the whole DAG with jobs that only leave empty outputs; return how many jobs of each rule ran."""
        status, output = forking.run(self.command(*arguments, config=config)[3:], self.folder, environment(), 300, touch=True)
        assert status == 0, output[-6000:]
        return Counter(re.findall(r"(?m)^Finished jobid: \d+ \(Rule: (?!all\b)(\w+)\)", output))

    def overlay(self, **values: object) -> str:
        """Write a config file that lays `values` over the tiny run's; return its name."""
        (self.folder / "overlay.yaml").write_text(yaml.safe_dump({"extends": "tests/tiny.yaml", **values}), encoding="utf-8")
        return "overlay.yaml"

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace text in a file; the text must be there."""
        path = self.folder / name
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{old!r} is not in {name}"
        path.write_text(text.replace(old, new), encoding="utf-8")

    def forget(self, *folders: str) -> None:
        """Delete folders of the tiny run's results: what comes before them need not be made again to make them."""
        for folder in folders:
            shutil.rmtree(self.folder / "results/tiny" / folder)

    def forget_records(self) -> None:
        """Delete Snakemake's records of this project; what a parse found out about the sources, two seconds of it, is written anew."""
        shutil.rmtree(self.folder / ".snakemake")
        self.know_digests()

    def know_digests(self, folder: str = "") -> None:
        """Write what a first parse finds out about the sources, where a run in the project, or in a folder of it, looks for it."""
        path = self.folder / folder / digest.DIGESTS
        path.parent.mkdir(exist_ok=True)
        path.write_text(_digests(), encoding="utf-8")

    def copy(self, folder: Path) -> "Project":
        """Return a copy, results and Snakemake's records included, times kept."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Project(folder)


def environment() -> dict[str, str]:
    """Return the environment for a run: none of the test process's own Python settings."""
    own = "PYTEST", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"  # the jobs of a run read what the first of them compiled
    return {k: v for k, v in os.environ.items() if not k.startswith(own)} | {"MPLBACKEND": "Agg"}


def planned(output: str) -> set[str]:
    """Return the rules in Snakemake's table of jobs, less the target rule."""
    if "Nothing to be done" in output:
        return set()
    table = re.search(r"Job stats:\n(.*?)\ntotal ", output, re.DOTALL)
    assert table, output[-4000:]
    return {line.split()[0] for line in table[1].splitlines()[2:]} - {"all"}


def from_rule(name: str) -> set[str]:
    """Return a rule and those after it in the chain."""
    return set(CHAIN[CHAIN.index(name) :])


def new_project(folder: Path) -> Project:
    """Copy the project's own files into a folder."""
    folder.mkdir(parents=True)
    for part in PARTS:
        source = ROOT / part
        if source.is_symlink():
            os.symlink(os.readlink(source), folder / part)
        elif source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"), symlinks=True)
        elif source.exists():
            shutil.copy2(source, folder / part)
    (folder / "tests").mkdir()
    shutil.copy2(ROOT / "tests" / "tiny.yaml", folder / "tests")
    project = Project(folder)
    project.know_digests()
    return project


@functools.cache
def _digests() -> str:
    """Return what a first parse finds out about the sources: two seconds, which every fresh copy of the project would spend anew."""
    for script in digest.PACKAGE.parent.glob("*.py"):
        digest.code_digest(script)
    return json.dumps({key: digest._found[key] for key in digest._used if key in digest._found})
