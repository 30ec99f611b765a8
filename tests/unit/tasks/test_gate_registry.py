"""A gate is a function and one line: it is added in a module of its own, and every dataset of its kind must pass it."""

import sys
import textwrap
from importlib import import_module

import pytest

from darkhaloscope.stamps import gates
from darkhaloscope.stamps.gates import QualityError, require
from darkhaloscope.tasks import part
from unit.tasks.test_injection_gates import dataset, honest, measure_injections

__all__ = ["honest"]

MODULE = """
    from darkhaloscope.stamps.gates import gate

    @gate("quiet sky", "lensfinder")
    def quiet_sky(stamps):
        worst = max(float(piece["sky_sigma_r"].max()) for _, piece in stamps.pieces())
        return "noise of the sky below 0.02 nanomaggy", f"{worst:.2g}", worst < 0.02

    @gate("balance", "lensfinder")
    def any_balance(stamps):
        return "any balance", "anything", True
"""


@pytest.fixture
def quiet_sky(tmp_path, monkeypatch):
    """The gates of a module that is there for one test."""
    (tmp_path / "gates_of_mine.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.syspath_prepend(tmp_path)
    part("lensfinder", "checks")  # its own gates are registered before they are put aside
    monkeypatch.setattr(gates, "_GATES", {kind: dict(found) for kind, found in gates._GATES.items()})
    yield import_module("gates_of_mine")
    sys.modules.pop("gates_of_mine")


def test_a_gate_is_added_by_its_registration_alone(quiet_sky, honest):
    found = {g.name: g for g in measure_injections(honest, dataset()).gates}
    assert len(found) == 18 and not found["quiet sky"].passed and found["quiet sky"].found == "0.03"
    # In place of the shared gate of that name.
    assert found["balance"].asked == "any balance"
    with pytest.raises(
        QualityError, match=r"fail 1 of 18 gates .*\n  quiet sky: asked noise of the sky below 0\.02 nanomaggy; found 0\.03"
    ):
        require(list(found.values()))


def test_a_gate_of_one_kind_leaves_the_others_alone(quiet_sky, honest):
    from darkhaloscope.config.lensfinder import ImportedDataset

    asked = ImportedDataset(table="x", stamp_size=16)
    assert "quiet sky" not in {g.name for g in measure_injections(honest, asked).gates}


def test_a_gate_that_would_never_be_asked_or_hide_another_is_refused():
    with pytest.raises(ValueError, match=r"gate `dark sky`: there is no kind of dataset `lensfindr` \(there is: subhalo, lensfinder"):
        gates.gate("dark sky", "lensfindr")
    part("lensfinder", "checks")
    with pytest.raises(
        ValueError, match=r"gate `balance` is registered twice, by darkhaloscope\.stamps\.gates and .*test_gate_registry; rename one"
    ):
        gates.gate("balance")(lambda stamps: None)


def test_a_task_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="datasets of kind 'rings' have no checks: a task is a folder of tasks/ with a file checks.py"):
        part("rings", "checks")
    with pytest.raises(ValueError, match="datasets of kind 'imported' have no manifest"):
        part("imported", "manifest")
