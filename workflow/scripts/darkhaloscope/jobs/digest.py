"""Digests of code: what a script runs, by content, so that reruns follow meaning and not file times.

A digest covers a script and every project module that it imports, directly or through another one.
Docstrings, comments and formatting do not count; templates do that a module, or a template it names, names by a
literal file name in its own `templates` folder. The digest is the same under every Python that runs the project:
`ast.dump` is not, since releases add fields to nodes (3.12 type parameters), leave empty ones out (3.13) and cut
f-strings in other places.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import itertools
import json
import re
from collections.abc import Iterable
from pathlib import Path

from ..core.files import write_json

PACKAGE = Path(__file__).parents[1]


@functools.cache
def code_digest(script: Path) -> str:
    """Return the digest of a script and its import closure, 16 hexadecimal digits."""
    total = hashlib.sha256()
    for path in closure(script):
        total.update(str(path.relative_to(PACKAGE.parent)).encode())
        total.update(_module(path)[0].encode())
    return total.hexdigest()[:16]


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
        meaning = _without_docstrings(tree)
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
        parts = itertools.groupby(node.values, key=lambda part: isinstance(part, ast.Constant))
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
def _files(parts: tuple[str, ...]) -> list[Path]:
    """Return the module files of a dotted name, the packages on the way included."""
    found = []
    for n in range(1, len(parts) + 1):
        place = PACKAGE.parent.joinpath(*parts[:n])
        for candidate in (place / "__init__.py", place.with_suffix(".py")):
            if candidate.is_file():
                found.append(candidate.resolve())
    return found


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return tree
