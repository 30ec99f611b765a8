"""Code digests: meaning counts, wording does not, and imports are followed."""

import ast
import hashlib

import pytest

import darkhaloscope.jobs.digest as digest

#: Modules that hand an error's text on, each read: into another error, or to the log.
SAYS_ERRORS = {
    "archive/download.py",
    "archive/fits_files.py",
    "core/reading.py",
    "core/tables.py",
    "surveys/prepared.py",  # why a cutout has no score, for people: no number depends on it
    "tasks/__init__.py",
    "tasks/lensfinder/real_hosts.py",  # why a cutout is no host, for the log
    "surveys/legacysurvey/retrieve.py",
    "detectors/evidence/findings.py",
    "detectors/fusion.py",
    "learning/backbones.py",
    "lensing/observe.py",
    "surveys/legacysurvey/bricks.py",
}


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
        for function in (digest.code_digest, digest.closure, digest._module, digest._files, digest._place, digest._infrastructure):
            function.cache_clear()
        return digest.code_digest(tmp_path / "script.py")

    yield tmp_path, compute
    for function in (digest.code_digest, digest.closure, digest._module, digest._files, digest._place, digest._infrastructure):
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


WORDED = """
def f(x):
    if x < 0:
        raise ValueError(f"{x} is below 0; " + ("give more" if x else "give one"))
    assert x, "x is 0"
    log.info("%d rows", x)
    return Field(1.0, ge=0, description="A number"), Column("x", "float64", "arcsec", "A place"), Column("y", "int8", "", description="A label")
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("is below 0; ", "is negative: "),
        ("give more", "add some"),
        ("x is 0", "x must not be 0"),
        ('    log.info("%d rows", x)\n', ""),
        ('log.info("%d rows", x)', 'log.warning("rows: %d of %s", x, str(x))'),
        ("A number", "A share"),
        ("A place", "Where it is"),
        ("A label", "What it is"),
    ],
)
def test_words_for_people_do_not_count(package, old, new):
    home, compute = package
    path = home / "darkhaloscope/room/low.py"
    path.write_text(WORDED)
    before = compute()
    assert old in WORDED
    path.write_text(WORDED.replace(old, new))
    assert compute() == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x < 0", "x <= 0"),
        ("ValueError", "KeyError"),
        ("assert x,", "assert x > 1,"),
        ("1.0, ge=0", "1.0, gt=0"),
        ('"arcsec"', '"deg"'),
        ('Field(1.0, ge=0, description="A number")', '"A number"'),
        ('log.info("%d rows", x)', 'log.info("%d rows", x := 3)'),
        ('log.info("%d rows", x)', 'table.info("%d rows", x)'),
        ("raise ValueError(", "raise ValueError(x, "),
    ],
)
def test_what_a_statement_with_words_does_counts(package, old, new):
    home, compute = package
    path = home / "darkhaloscope/room/low.py"
    path.write_text(WORDED)
    before = compute()
    assert old in WORDED
    path.write_text(WORDED.replace(old, new))
    assert compute() != before


@pytest.mark.parametrize("name", ["jobs/stage.py", "core/files.py", "core/stopping.py", "__init__.py"])
def test_how_a_job_runs_records_and_writes_does_not_count(package, name):
    home, compute = package
    path = home / "darkhaloscope" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("X = 1\n")
    (home / "script.py").write_text(
        f"import darkhaloscope.{name.removesuffix('.py').replace('/', '.').replace('.__init__', '')}\nimport darkhaloscope.room.low\n"
    )
    before = compute()
    path.write_text("X = 2\n")
    assert compute() == before
    assert path in digest.closure(home / "script.py")


def test_the_infrastructure_exists():
    for part in digest.INFRASTRUCTURE:
        assert (digest.PACKAGE / part).exists(), part


def test_no_text_of_an_error_becomes_a_result():
    """Texts of errors are no part of a digest: where one is kept, it is said again in an error, a log line or a function that words one."""
    kept = set()
    for path in digest.PACKAGE.rglob("*.py"):
        if digest._infrastructure(path) or path.parent.name == "config":  # which is read before any job
            continue
        for handler in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ExceptHandler) and node.name):
            worded = {id(part) for node in ast.walk(handler) if isinstance(node, ast.Raise) or _logs(node) for part in ast.walk(node)}
            used = [node for node in ast.walk(handler) if isinstance(node, ast.Name) and node.id == handler.name and id(node) not in worded]
            if used:
                kept.add(f"{path.relative_to(digest.PACKAGE)}")
    unread = kept - SAYS_ERRORS
    assert not unread, f"{unread} use the text of an error: where it enters no result, add them to SAYS_ERRORS; else give the error a value"


def _logs(node):
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") in digest.LOGGERS


def test_what_is_not_imported_does_not_count(package):
    home, compute = package
    before = compute()
    (home / "darkhaloscope/room/other.py").write_text("Y = 2\n")
    assert compute() == before


def test_a_template_counts_where_a_module_or_another_template_names_it(package):
    home, compute = package
    folder = home / "darkhaloscope/room/templates"
    folder.mkdir()
    for name in ("page.html", "base.html", "style.css", "other.html"):
        (folder / name).write_text("<p>")
    alone = compute()
    (home / "darkhaloscope/room/low.py").write_text("X = load('page.html')\n")
    (folder / "page.html").write_text("{% extends 'base.html' %}")
    (folder / "base.html").write_text('<link href="style.css">')
    seen = [alone]
    for name in ("page.html", "base.html", "style.css"):
        seen.append(compute())
        (folder / name).write_text((folder / name).read_text() + "<b>")
    seen.append(compute())
    assert len(set(seen)) == len(seen)
    (folder / "other.html").write_text("<b>")
    assert compute() == seen[-1]


def test_every_template_of_the_project_is_counted_by_a_module_of_its_room():
    """A name put together at run time would not be found: the edit of such a template would rerun nothing."""
    rooms = {path.parent for path in digest.PACKAGE.rglob("templates")}
    assert len(rooms) >= 2
    for room in rooms:
        named = {
            template
            for module in room.glob("*.py")
            for template in digest.templates(module, digest._file_names(ast.parse(module.read_text(encoding="utf-8"))))
        }
        assert named == {path for path in (room / "templates").rglob("*") if path.is_file()}


def test_no_stage_that_a_network_waits_for_runs_code_of_the_report():
    """Else an edit of a page would make every training stale."""
    scripts = digest.PACKAGE.parent
    drawn = {s.stem for s in scripts.glob("*.py") if any(digest.PACKAGE / "report" in p.parents for p in digest.closure(s))}
    assert {"build_report", "build_dataset_page", "rank_candidates"} <= drawn
    assert drawn <= {
        "build_report",
        "build_index",
        "build_dataset_page",
        "rank_candidates",
        "rank_parents",
        "show_galaxies",
        "show_lenses",
        "show_scores",
        "map_completeness",
        "map_table_completeness",
        "show_cutouts",
    }


#: What Python releases have written differently in a syntax tree: f-strings, their specs and nesting, functions and
#: classes (type parameters since 3.12), empty lists, letters that newer Unicode tables call printable.
TRICKY = """
class A(dict, metaclass=type): pass
def f(a, /, b: int = 1, *c, d=None, **e) -> "text":
    x, (y, *z) = a, b
    match x:
        case {"k": [1, *_], **rest} if rest: return ...
        case A() | None: pass
    return f"{x!r:>{y}.{z}f}{{literal}} and" f" {x=} \U0001fae9 {x:}" "tail", 1e-3, 2j, b"bytes", -1, u"kind", lambda: (yield)
async def g(): return [i async for i in h() if i]
"""


def test_the_digest_of_a_module_is_the_same_in_every_python():
    """Measured the same with Python 3.11.7, 3.12.1 and 3.13.0: this test holds it for every one that runs it."""
    assert hashlib.sha256(digest._canonical(ast.parse(TRICKY)).encode()).hexdigest()[:16] == "f88932acf9d72d2d"


def test_where_a_release_cuts_an_fstring_or_adds_an_empty_field_does_not_count():
    tree = ast.parse("def f(x): return f'a{{b{x}c'")
    before = digest._canonical(tree)
    string = tree.body[0].body[0].value
    assert [type(v).__name__ for v in string.values] == ["Constant", "FormattedValue", "Constant"]
    string.values = [ast.Constant("a{"), ast.Constant("b"), string.values[1], ast.Constant(""), ast.Constant("c", kind="u")]
    tree.body[0].type_params = []
    tree.body[0].type_comment = None
    assert digest._canonical(tree) == before
    string.values = string.values[:2]
    assert digest._canonical(tree) != before


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1", "x = 1.0"),
        ("x = 'a'", "x = b'a'"),
        ("x = 'None'", "x = None"),
        ("x = f'a{b}'", "x = 'a{b}'"),
        ("x = f'{a}b'", "x = f'{a!r}b'"),
        ("x = f'{a}{b}'", "x = f'{b}{a}'"),
        ("x[1:]", "x[:1]"),
        ("f(*a)", "f(**a)"),
        ("x = a, b", "x = [a, b]"),
        ("def f(): ...", "async def f(): ..."),
        ("return_ = -1", "return_ = +1"),
    ],
)
def test_what_means_something_else_counts(one, other):
    assert digest._canonical(ast.parse(one)) != digest._canonical(ast.parse(other))


def test_format_does_not_count(package):
    home, compute = package
    low = home / "darkhaloscope/room/low.py"
    low.write_text("X = dict(a=1, b='two')\n")
    before = compute()
    low.write_text('X = dict(\n    a=1,\n    b="two",\n)\n')
    assert compute() == before


def test_what_an_earlier_parse_found_saves_parsing_and_changes_no_digest(package, monkeypatch):
    home, compute = package
    before, file = compute(), home / "digests.json"
    digest.keep(file)
    digest._found.clear()
    digest.remember(file)
    with monkeypatch.context() as patch:
        patch.setattr(digest.ast, "parse", lambda *_, **__: pytest.fail("a source was parsed again"))
        assert compute() == before
    (home / "darkhaloscope/room/low.py").write_text("X = 2\n")
    changed = compute()
    digest._found.clear()
    assert compute() == changed != before
    file.write_text("{half")
    digest.remember(file)
    assert compute() == changed
