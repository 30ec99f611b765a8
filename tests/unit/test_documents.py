"""What the pages say: links lead somewhere, examples of configs can be read, and targets stand ahead of --configfile."""

import re
from pathlib import Path

import pytest

from darkhaloscope.config.run import load
from darkhaloscope.config.yaml_files import merge, parse_yaml

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "config/README.md",
    ROOT / "results/README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}

#: Sections that an example leaves to what stands ahead of it on its page.
AHEAD = {"datasets": {"lensfinder": {"real_sky": {"path": "graded.npz", "bands": ["g", "r", "z"]}}}}


def anchors(text):
    """Return the anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.*)", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {
        "".join(c for c in re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", h).strip().lower() if c.isalnum() or c in " -_").replace(" ", "-")
        for h in headings
    }


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_to_files_and_headings_that_are_there(name):
    page = ROOT / name
    for link in re.findall(r"\]\(([^)\s]+)\)", TEXTS[name]):
        if not link.startswith(("https://", "http://")):
            path, _, anchor = link.partition("#")
            there = (page.parent / path).resolve() if path else page
            assert there.exists(), f"{name}: {link}"
            assert not anchor or anchor in anchors(there.read_text(encoding="utf-8")), f"{name}: {link}"


EXAMPLES = [(name, text) for name in TEXTS for text in re.findall(r"^```yaml\n(.*?)^```", TEXTS[name], re.DOTALL | re.MULTILINE)]


@pytest.mark.parametrize(("name", "text"), EXAMPLES, ids=[f"{name}-{k}" for k, (name, _) in enumerate(EXAMPLES)])
def test_examples_of_configs_are_configs(name, text):
    values = parse_yaml(text, name)
    below = values.pop(
        "extends", "" if "root" in values else "config/subhalo-reference.yaml" if "informative" in text else "config/demo-full.yaml"
    )
    below = below if below.startswith("config/") or not below else "config/demo-full.yaml"
    run = load(merge(AHEAD if "head:" in text else {}, values) | ({"extends": below} if below else {}), ROOT).plain()
    # What an example names is part of the run that it makes.
    assert set(values) <= set(run)
    for section in ("datasets", "detectors", "experiments"):
        assert set(values.get(section) or {}) <= set(run[section])


@pytest.mark.parametrize("name", TEXTS)
def test_a_target_stands_ahead_of_configfile(name):
    """--configfile takes all words up to the next option."""
    for line in TEXTS[name].splitlines():
        for words in re.findall(r"snakemake [^`#]*?--configfile ((?:(?! -)[^`#])*)", line):
            assert all(word.endswith(".yaml") or word == "…" for word in words.split()), line


def test_files_of_configs_that_commands_name_are_there():
    for name, text in TEXTS.items():
        for path in re.findall(r"config/[\w-]+\.yaml", text):
            assert (ROOT / path).exists() or path == "config/other.yaml", f"{name}: {path}"
