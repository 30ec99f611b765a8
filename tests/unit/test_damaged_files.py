"""Every reader of files with every damage: it gives the right result, or an error that names file, expectation and remedy."""

import errno
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from darkhaloscope.config.cutouts import Cutouts
from darkhaloscope.core.tables import TableError, parquet_files
from darkhaloscope.evaluation.any_table import open_scores
from darkhaloscope.learning.foreign import read_state
from darkhaloscope.surveys.observed_names import lens_names
from darkhaloscope.surveys.table import cutouts_of
from darkhaloscope.surveys.text_tables import read_text_table
from unit import damages
from unit.foreign_readers import READERS, Reader

#: How a message says what should be there, and what a person can do about it.
EXPECTATION = re.compile(
    r"\b(expected|must|should|does not exist|is missing|lacks?|cannot be read as|not a readable|not a whole|could not be fetched|is not open to us|instead of)\b"
)
REMEDY = re.compile(
    r"\b(fetch|delete|make|build|run|rerun|give|set|write|save|check|correct|take|put|train|rename|inspect|unpack|leave|ask|choose|keep"
    r"|drop|render|turn|open|score)\b",
    re.IGNORECASE,
)
CASES = [
    pytest.param(reader, damage, id=f"{reader.name}-{damage}".replace(" ", "_"))
    for reader in READERS
    for damage in (*damages.EVERYWHERE, *damages.OF_CONTENT)
    if damage not in reader.without
]


def tells(error: BaseException, path: Path) -> list[str]:
    """Return what an error lacks of file, expectation and remedy in words of this project."""
    text = str(error)
    lacks = [] if type(error).__module__.startswith("darkhaloscope.") else [f"a class of this project (it is {type(error).__name__})"]
    lacks += [] if path.name in text else ["the file's name"]
    lacks += [] if EXPECTATION.search(text) else ["an expectation"]
    return lacks + ([] if REMEDY.search(text) else ["a remedy"])


def same(a: object, b: object) -> bool:
    try:
        np.testing.assert_equal(a, b)
    except AssertionError:
        return False
    return True


@pytest.fixture(scope="session")
def good(tmp_path_factory):
    """Function that gives the folder of a reader's good file, the file's place in it, and what is read there; made once."""
    home, made = tmp_path_factory.mktemp("good"), {}

    def get(reader: Reader):
        if reader.name not in made:
            folder = home / re.sub(r"\W", "_", reader.name)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            path = reader.make(folder)
            made[reader.name] = folder, path.relative_to(folder), reader.read(path)
            shutil.rmtree(path.parent / "fetched", ignore_errors=True)
        return made[reader.name]

    return get


@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyUserWarning")  # what it says of a damaged header before it gives up
@pytest.mark.parametrize(("reader", "damage"), CASES)
def test_a_damaged_file_is_read_right_or_refused_in_words(reader, damage, good, tmp_path, monkeypatch):
    folder, place, expected = good(reader)
    shutil.copytree(folder, tmp_path / "here")
    path = tmp_path / "here" / place
    change = damages.EVERYWHERE.get(damage) or reader.content.get(damage)
    if change is None:
        damages.refuse_to_open(path, monkeypatch)
    else:
        change(path)
    try:
        found = reader.read(path)
    except Exception as error:
        lacks = tells(error, Path(reader.table) if reader.table and damage in damages.OF_CONTENT else path)
        assert not lacks, f"{type(error).__name__} without {', '.join(lacks)}: {error}"
        return
    finally:
        monkeypatch.undo()
    reason = found.get("reason") if isinstance(found, dict) else None
    if reason and damage not in reader.right:  # a cutout that cannot be had says why, and the stamp with it
        assert path.name in reason
        return
    right = same(found, expected) or (damage in reader.right and reader.right[damage](found, expected))
    assert right, f"read without a word, and not what the good file says: {str(found)[:500]}"


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name.replace(" ", "_"))
def test_a_good_file_is_read_whatever_its_folder_is_called(reader, good, tmp_path):
    """cfitsio reads `[2]` at the end of a path as an extension and `(…)` as another file; globs have signs of their own."""
    folder, place, expected = good(reader)
    shutil.copytree(folder, tmp_path / "run [2] (é) *?~")
    assert same(reader.read(tmp_path / "run [2] (é) *?~" / place), expected)


def test_every_reader_has_every_damage_or_a_reason():
    names = {*damages.EVERYWHERE, *damages.OF_CONTENT}
    for reader in READERS:
        assert {*reader.content, *reader.without} >= set(damages.OF_CONTENT), reader.name
        assert {*reader.right, *reader.without} <= names, reader.name
        assert all(len(reason) > 10 for reason in reader.without.values()), reader.name
    assert len({r.name for r in READERS}) == len(READERS)


def test_the_errors_of_libraries_are_not_enough():
    path = Path("scores.parquet")
    assert tells(OSError(f"{path}: expected a Parquet file; write it again"), path) == ["a class of this project (it is OSError)"]

    class Wordless(ValueError):
        pass

    Wordless.__module__ = "darkhaloscope.core"
    assert tells(Wordless("Parquet magic bytes not found in footer"), path) == ["the file's name", "an expectation", "a remedy"]


@pytest.mark.parametrize("read", [open_scores, read_text_table, read_state, lens_names, lambda path: cutouts_of(Cutouts(path=str(path)))])
def test_what_lies_below_a_folder_that_may_not_be_entered_is_named(tmp_path, monkeypatch, read):
    """A Path raises in place of saying that there is no such file."""
    path, stat = tmp_path / "closed" / "mine.csv", os.stat

    def refuse(name, *arguments, **named):
        if isinstance(name, str | os.PathLike) and Path(name) == path:
            raise PermissionError(errno.EACCES, "Permission denied", str(name))
        return stat(name, *arguments, **named)

    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises(ValueError, match="Permission denied") as error:
        read(path)
    monkeypatch.undo()
    assert not tells(error.value, path)


def test_a_part_of_a_table_below_a_folder_that_may_not_be_read_is_not_passed_over(tmp_path, monkeypatch):
    for place in ("a.parquet", "below/b.parquet"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_bytes(b"PAR1")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("below"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(
        TableError, match=r"below: a folder of the table .* cannot be read \(Permission denied\), expected all of its parts; check"
    ):
        parquet_files(tmp_path)
