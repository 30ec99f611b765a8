"""Conda environments asked for where there is no conda: the message names the other way."""

from types import SimpleNamespace

import pytest
from snakemake.settings.types import DeploymentMethod, DeploymentSettings

from darkhaloscope.jobs import startup


@pytest.fixture
def said(monkeypatch):
    def ask(*methods, found=None, **more):
        monkeypatch.setattr(startup.shutil, "which", lambda name: found if name == "conda" else None)
        return startup.without_conda(DeploymentSettings(deployment_method=frozenset(methods), **more))

    return ask


def test_only_a_conda_that_is_asked_for_and_missing_is_told(said, tmp_path):
    text = said(DeploymentMethod.CONDA)
    assert "no `conda` on the PATH" in text and "`--sdm env-modules`" in text and "docs/cluster.md" in text
    assert said(DeploymentMethod.CONDA, found="/opt/conda/bin/conda") is None
    assert said(DeploymentMethod.CONDA, conda_base_path=tmp_path) is None
    assert said() is None and said(DeploymentMethod.ENV_MODULES) is None


def test_a_method_by_its_name_alone_is_understood(monkeypatch):
    monkeypatch.setattr(startup.shutil, "which", lambda name: None)
    assert startup.without_conda(SimpleNamespace(deployment_method={"CONDA"}, conda_base_path=None))
