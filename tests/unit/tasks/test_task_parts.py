"""Parts of tasks: what a rule's digest takes in of them, so that one task, or another part, is not made again for an edit of this one."""

import pytest

from darkhaloscope.config.kinds import DATASET_KINDS
from darkhaloscope.core.tables import Schema
from darkhaloscope.jobs.digest import PACKAGE, closure
from darkhaloscope.stamps.checks import Checks
from darkhaloscope.tasks import part
from rule_files import rule_files, wildcards

TASKS = PACKAGE / "tasks"


@pytest.mark.parametrize("kind", DATASET_KINDS)
def test_every_kind_of_dataset_has_the_parts_of_a_task(kind):
    schema, checks = part(kind, "schema"), part(kind, "checks").CHECKS
    assert isinstance(checks, Checks) and isinstance(schema.stamp_schema(16), Schema)
    names = {c.name for c in schema.scalar_columns()}
    assert [c.name for c in checks.seen.scalars] == [c.name for c in schema.scalar_columns()] and set(checks.described) <= names
    assert {c.name for c in schema.stamp_schema(16).columns} == names | set(checks.seen.images)


@pytest.mark.parametrize("kind", ["subhalo", "lensfinder"])
def test_drawn_rows_are_the_first_columns_of_a_stamp(kind):
    manifest, schema = part(kind, "manifest").MANIFEST, part(kind, "schema").stamp_schema(16)
    assert schema.columns[: len(manifest.columns)] == manifest.columns


def test_an_edit_of_one_part_is_in_the_digests_of_its_rules_alone():
    scripts = PACKAGE.parent

    def taken(*files):
        return {path.relative_to(scripts).as_posix().removeprefix("darkhaloscope/") for file in files for path in closure(file)}

    drawn = taken(scripts / "build_manifest.py", TASKS / "subhalo/manifest.py")
    checked = taken(scripts / "check_stamps.py", TASKS / "subhalo/checks.py")
    rendered = taken(scripts / "render_stamps.py")
    assert not any(path.startswith("tasks/lensfinder") for path in drawn | checked | rendered)
    assert {"stamps/gates.py", "tasks/subhalo/checks.py"} <= checked and not {"stamps/gates.py", "tasks/subhalo/checks.py"} & (
        drawn | rendered
    )
    assert {"stamps/seen.py", "tasks/subhalo/seen.py"} <= checked & rendered
    assert "tasks/subhalo/render.py" in rendered and "tasks/subhalo/render.py" not in drawn | checked


def test_rules_of_several_kinds_take_the_digest_of_the_datasets_own_task():
    rules = rule_files({"datasets": {"mine": {"kind": "subhalo"}, "old": {"kind": "imported", "table": "x.parquet"}}})
    digests = {name: rules.task_digest("check_stamps", "checks")(wildcards(dataset=name)) for name in ("mine", "old", "lensfinder")}
    assert len(set(digests.values())) == 3 and len({d.split("-")[0] for d in digests.values()}) == 1
