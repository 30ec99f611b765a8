"""Code digests: meaning counts, wording does not, and imports are followed."""

import pytest

import darkhaloscope.digest as digest


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small package with a script: script → room.top → room.low."""
    home = tmp_path / "darkhaloscope"
    (home / "room").mkdir(parents=True)
    (home / "__init__.py").write_text("")
    (home / "room" / "__init__.py").write_text("")
    (home / "room" / "low.py").write_text("X = 1\n")
    (home / "room" / "top.py").write_text("from .low import X\n")
    (home / "room" / "other.py").write_text("Y = 1\n")
    (tmp_path / "script.py").write_text("from darkhaloscope.room.top import X\n")
    monkeypatch.setattr(digest, "PACKAGE", home)

    def compute():
        for function in (digest.code_digest, digest.closure, digest._module):
            function.cache_clear()
        return digest.code_digest(tmp_path / "script.py")

    yield tmp_path, compute
    for function in (digest.code_digest, digest.closure, digest._module):
        function.cache_clear()


def test_comments_docstrings_and_format_do_not_count(package):
    home, compute = package
    before = compute()
    (home / "darkhaloscope/room/low.py").write_text('"""Now with words."""\n\n# and a comment\nX   =  1\n')
    assert compute() == before


@pytest.mark.parametrize("name", ["darkhaloscope/room/low.py", "darkhaloscope/room/top.py", "script.py", "darkhaloscope/room/__init__.py"])
def test_a_change_anywhere_in_the_closure_counts(package, name):
    home, compute = package
    before = compute()
    path = home / name
    path.write_text(path.read_text() + "Z = 2\n")
    assert compute() != before


def test_what_is_not_imported_does_not_count(package):
    home, compute = package
    before = compute()
    (home / "darkhaloscope/room/other.py").write_text("Y = 2\n")
    assert compute() == before


def test_templates_beside_an_imported_module_count(package):
    home, compute = package
    before = compute()
    (home / "darkhaloscope/room/templates").mkdir()
    (home / "darkhaloscope/room/templates/page.html").write_text("<p>")
    assert compute() != before
