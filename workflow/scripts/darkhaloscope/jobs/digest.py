"""Digests of code: what a script runs, by content, so that reruns follow meaning and not file times.

A digest covers a script and every project module that it imports, directly or through another one. What cannot change a
result does not count: comments, docstrings and formatting; texts of errors, of assertions and of log calls; descriptions of
config fields and of columns; and the modules of `INFRASTRUCTURE`. Templates count that a module, or a template it names, names
by a literal file name in its own `templates` folder. The digest is the same under every Python that runs the project:
`ast.dump` is not, since releases add fields to nodes (3.12 type parameters), leave empty ones out (3.13) and cut
f-strings in other places.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import json
import re
from collections.abc import Iterable
from itertools import filterfalse, groupby
from pathlib import Path
from typing import Any

from ..core.files import write_json

PACKAGE = Path(__file__).parents[1]

#: Modules, and packages (with a slash at their end), that decide how a job runs, logs, records and writes, and not what it finds.
INFRASTRUCTURE = ("__init__.py", "jobs/", "core/files.py", "core/stopping.py", "archive/progress.py", "config/wording.py")

#: What the main process found out about the sources, for the next parse and for its jobs.
DIGESTS = Path(".snakemake/darkhaloscope-digests.json")

#: Calls whose description says what something is, and its place among their positional arguments.
DESCRIBED = {"Field": None, "Column": 3, "shared": None, "_bands": 3}
#: Their arguments that are words for people; pydantic's own words for an error among them.
WORDS = {"description", "title", "examples", "custom_error_message"}
#: Names of loggers, and what is called on them.
LOGGERS, LOGGED = {"log", "logger", "logging", "warnings"}, {"debug", "info", "warning", "warn", "error", "exception", "critical"}


@functools.cache
def code_digest(script: Path) -> str:
    """Return the digest of a script and its import closure, 16 hexadecimal digits."""
    total = hashlib.sha256()
    for path in filterfalse(_infrastructure, closure(script)):
        total.update(_place(path).encode())
        total.update(_module(path)[0].encode())
    return total.hexdigest()[:16]


def digest_with(script: Path, module: str) -> str:
    """Return the digests of a script and of a library module that it imports by name (its place below the library), and that place."""
    return f"{code_digest(script)}-{code_digest(PACKAGE / module)}:{module}"


def is_todays(planned: str, script: Path) -> bool:
    """Say whether a planned digest, of `code_digest` or `digest_with`, is that of today's code."""
    _, _, part = planned.partition("-")
    module = part.partition(":")[2]
    return planned == (digest_with(script, module) if module else code_digest(script))


@functools.cache
def closure(script: Path) -> tuple[Path, ...]:
    """Return the script and the project modules it imports, sorted by path."""
    seen: set[Path] = set()
    waiting = [script.resolve()]
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting.extend(_module(path)[1])
    return tuple(sorted(seen))


def remember(file: Path) -> None:
    """Take what an earlier parse found out about each source; the file is keyed by content, so that it cannot be out of date."""
    with contextlib.suppress(OSError, ValueError):
        _found.update(json.loads(file.read_text(encoding="utf-8")))


def keep(file: Path) -> None:
    """Leave what this parse found out for the next one: every job parses the Snakefile, and parsing all sources takes seconds."""
    if not _used <= _stored(file):
        with contextlib.suppress(OSError):
            write_json(file, {key: _found[key] for key in sorted(_used)})


#: By hash of a source, its place and this module: the hash of its canonical form, the dotted names that it imports,
#: and its literals that may name a file.
_found: dict[str, tuple[str, list[list[str]], list[str]]] = {}
_used: set[str] = set()


def _stored(file: Path) -> set[str]:
    try:
        return set(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return set()


@functools.cache
def _module(path: Path) -> tuple[str, tuple[Path, ...]]:
    """Return a module's own digest and the project modules that it imports."""
    source = path.read_bytes()
    place = f"{path.relative_to(PACKAGE.parent)} {_itself()}\n".encode()
    key = hashlib.sha256(place + source).hexdigest()
    if key not in _found:
        tree = ast.parse(source, filename=str(path))
        names = _imports(tree, path)
        meaning = _Meaning().visit(tree)
        _found[key] = hashlib.sha256(_canonical(meaning).encode()).hexdigest(), names, _file_names(meaning)
    _used.add(key)
    canonical, names, literals = _found[key]
    content = hashlib.sha256(canonical.encode())
    for template in templates(path, literals):
        content.update(template.name.encode() + template.read_bytes())
    return content.hexdigest(), tuple(dict.fromkeys(file for name in names for file in _files(tuple(name))))


def templates(module: Path, names: Iterable[str]) -> tuple[Path, ...]:
    """Return the files of a module's `templates` folder among some names, and those that these files name in quotes, sorted."""
    folder, seen, waiting = module.parent / "templates", set(), list(names)
    while waiting:
        file = folder / waiting.pop()
        if file not in seen and file.is_file():
            seen.add(file)
            waiting += re.findall(r"""["']([\w.-]+\.\w+)["']""", file.read_text(encoding="utf-8"))
    return tuple(sorted(seen))


def _file_names(tree: ast.Module) -> list[str]:
    literals = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return sorted(text for text in literals if re.fullmatch(r"[\w.-]+\.\w+", text))


@functools.cache
def _itself() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def _canonical(node: object) -> str:
    """Return a syntax tree as text: the fields that hold something, f-strings with neighbouring literals joined."""
    if isinstance(node, list):
        return f"[{','.join(map(_canonical, node))}]"
    if isinstance(node, ast.Constant):
        # ascii, because repr escapes what the Unicode tables of a release call unprintable.
        return f"{type(node.value).__name__} {node.value!a}"
    if isinstance(node, ast.JoinedStr):
        parts = groupby(node.values, key=lambda part: isinstance(part, ast.Constant))
        texts = [ascii("".join(p.value for p in group)) if literal else _canonical(list(group)) for literal, group in parts]
        return f"JoinedStr({','.join(t for t in texts if t != ascii(''))})"
    if isinstance(node, ast.AST):
        fields = [(name, value) for name, value in ast.iter_fields(node) if value is not None and value != []]
        return f"{type(node).__name__}({','.join(f'{name}={_canonical(value)}' for name, value in fields)})"
    return ascii(node)


def _imports(tree: ast.Module, path: Path) -> list[list[str]]:
    """Return the dotted names of the project that a module imports; some name things in modules, not modules."""
    found: list[list[str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found.append(alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            base = list(path.relative_to(PACKAGE.parent).parts[: -node.level]) if node.level else []
            base += node.module.split(".") if node.module else []
            found += [base, *([*base, alias.name] for alias in node.names)]
    return [name for name in found if name and name[0] == PACKAGE.name]


@functools.cache
def _files(parts: tuple[str, ...]) -> tuple[Path, ...]:
    """Return the module files of a dotted name, the packages on the way included."""
    place = PACKAGE.parent.joinpath(*parts)
    own = tuple(file.resolve() for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file())
    return (*_files(parts[:-1]), *own) if parts[1:] else own


@functools.cache
def _place(file: Path) -> str:
    return str(file.relative_to(PACKAGE.parent))


@functools.cache
def _infrastructure(file: Path) -> bool:
    place = file.relative_to(PACKAGE).as_posix() if file.is_relative_to(PACKAGE) else ""
    return any(place.startswith(part) if part.endswith("/") else place == part for part in INFRASTRUCTURE)


class _Meaning(ast.NodeTransformer):
    """Takes out of a syntax tree what cannot change a result."""

    def _body(self, node: Any) -> Any:
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return self.generic_visit(node)

    visit_Module = visit_ClassDef = visit_FunctionDef = visit_AsyncFunctionDef = _body

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        """Keep which error is raised and the values that it carries, not its text."""
        if isinstance(node.exc, ast.Call):
            call = node.exc
            call.args = [argument for argument in call.args if not _is_text(argument)]
            call.keywords = [keyword for keyword in call.keywords if not _is_text(keyword.value)]
        return node

    def visit_Assert(self, node: ast.Assert) -> ast.Assert:
        node.msg = None
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        """Leave out a call of a logger, unless its arguments do something."""
        call = node.value
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in LOGGED:
            effects = any(isinstance(part, ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom) for part in ast.walk(call))
            if isinstance(call.func.value, ast.Name) and call.func.value.id in LOGGERS and not effects:
                return ast.Pass()
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.Call:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
        if name in DESCRIBED:
            place = DESCRIBED[name]
            node.args = [argument for i, argument in enumerate(node.args) if i != place]
            node.keywords = [keyword for keyword in node.keywords if keyword.arg not in WORDS]
        elif name == "Discriminator":
            node.keywords = [keyword for keyword in node.keywords if keyword.arg not in WORDS]
        return self.generic_visit(node)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Visit what a node holds; a statement that says nothing any more is no part of its block."""
        super().generic_visit(node)
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            if isinstance(block, list):
                kept = [statement for statement in block if not isinstance(statement, ast.Pass)]
                setattr(node, field, kept or ([ast.Pass()] if field == "body" else []))
        return node


def _is_text(node: ast.expr) -> bool:
    """Return whether an expression is made of literal text: a string, an f-string, a sum or choice of such, text.format(…) or text.join(…)."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str)
    if isinstance(node, ast.BinOp):
        return _is_text(node.left) or (isinstance(node.op, ast.Add) and _is_text(node.right))
    if isinstance(node, ast.IfExp):
        return _is_text(node.body) and _is_text(node.orelse)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr in ("format", "join") and _is_text(node.func.value)
    return isinstance(node, ast.JoinedStr)
