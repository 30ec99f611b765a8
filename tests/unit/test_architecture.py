"""docs/architecture.md against the code: the order of the rooms holds, every room is there, every file it names exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "workflow" / "scripts" / "darkhaloscope"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def rooms():
    """Return the rooms in the order of the page's table."""
    table = PAGE.split("## The rooms")[1].split("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)


def imported_rooms(path):
    """Return the rooms that a module imports, relatively or by the library's name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom):
            base = list(path.relative_to(LIBRARY.parent).parts[: -node.level]) if node.level else []
            base += node.module.split(".") if node.module else []
            names = [[*base, alias.name] for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        found |= {name[1] for name in names if name[0] == LIBRARY.name and len(name) > 1}
    return found


def test_the_page_names_every_room():
    assert sorted(rooms()) == sorted(path.parent.name for path in LIBRARY.glob("*/__init__.py"))


def test_no_room_imports_one_below_it_in_the_table():
    order = {room: place for place, room in enumerate(rooms())}
    modules = [path for room in order for path in (LIBRARY / room).rglob("*.py")]
    assert len(modules) > 100
    wrong = [
        f"{path.relative_to(LIBRARY)} imports {other}"
        for path in modules
        for other in imported_rooms(path)
        if order.get(other, -1) > order[path.relative_to(LIBRARY).parts[0]]
    ]
    assert wrong == []


def test_every_file_that_the_page_names_exists():
    named = set(re.findall(r"`([\w./-]+\.(?:py|smk|yaml|md)|Snakefile)`", PAGE))
    assert len(named) > 60
    missing = sorted(
        name for name in named if not any((folder / name).exists() for folder in (LIBRARY, ROOT, ROOT / "config", ROOT / "tests"))
    )
    # Parts that every task has, named without their folder.
    parts = {"manifest.py", "checks.py", "README.md", "paths.py"}
    assert [name for name in missing if name not in parts] == []


@pytest.mark.parametrize("walk", ["Walk 1", "Walk 2"])
def test_the_count_of_a_walk_is_that_of_its_table(walk):
    table, count = re.search(rf"## {walk}.*?\n(\| 1 \|.*?)\n\n(\d+) files", PAGE, re.DOTALL).groups()
    files = re.findall(r"^\| (\d+) \| `([^`]+)` \|", table, re.MULTILINE)
    assert [int(place) for place, _ in files] == list(range(1, int(count) + 1))
    assert len({name for _, name in files}) == len(files)


def test_what_a_walk_names_in_a_file_is_in_that_file():
    rows = re.findall(r"^\| [\w, ]+ \| `([^`]+)` \| (`.+?) \|", PAGE, re.MULTILINE)
    assert len(rows) > 60
    missing = []
    for file, named in rows:
        text = next(path for folder in (LIBRARY, ROOT) if (path := folder / file).exists()).read_text(encoding="utf-8")
        for name in re.findall(r"`([\w.]+)", named):
            last = name.rpartition(".")[2]
            if not re.search(rf"^\s*((def|class|rule) )?{last}\b[^.]", text, re.MULTILINE) and file != "Snakefile":
                missing.append(f"{file}: {name}")
    assert missing == []
