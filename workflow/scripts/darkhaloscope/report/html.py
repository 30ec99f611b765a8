"""Pages from their templates: each opens from disk and needs nothing but itself."""

from __future__ import annotations

from importlib import resources
from typing import Any

import jinja2

from ..evaluation.tidy import count, power
from .context import ReportError
from .frames import column_name


def render(template: str, **values: Any) -> str:
    """Return a page; its style and its scripts stand in it."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}  # columns stay in their order
    environment.globals |= {"column_name": column_name, "power": power, "count": count, "asset": _asset, "datatables": _datatables}
    environment.filters["css_text"] = _css_text
    return environment.get_template(template).render(**values)


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath("templates", name).read_text(encoding="utf-8")


def _css_text(text: str) -> str:
    """Return a text as a string of CSS."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _datatables() -> str:
    """Return DataTables, which sorts, searches and pages the tables, as the package itables holds it."""
    script = resources.files("itables").joinpath("html", "dt_bundle.js").read_text(encoding="utf-8")
    if "</script" in script:
        raise ReportError("the script of itables holds an end tag of scripts and cannot stand in a page; install the pinned version")
    return script
