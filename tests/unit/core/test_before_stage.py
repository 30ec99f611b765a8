"""What goes wrong before a script's stage begins: another library, an import that fails, code edited meanwhile."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from darkhaloscope.jobs import before_stage, digest
from darkhaloscope.jobs.stage import stage
from darkhaloscope.jobs.startup import braces

SCRIPTS = Path(__file__).parents[3] / "workflow/scripts"

#: What Snakemake puts before a script: the object `snakemake`, and the script's folder at the end of the path.
SCRIPT = """
import sys
from types import SimpleNamespace
snakemake = SimpleNamespace(rule="draw_thing", log=[{log!r}], scriptdir={scriptdir!r})
sys.path.extend([snakemake.scriptdir])
import darkhaloscope
{body}
"""


def run(tmp_path, body, scriptdir=SCRIPTS, paths=(SCRIPTS,)):
    log = tmp_path / "logs/draw_thing.log"
    script = tmp_path / "draw_thing.py"
    script.write_text(SCRIPT.format(log=str(log), scriptdir=str(scriptdir), body=body))
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment)
    return done, log.read_text() if log.exists() else ""


def test_an_import_that_fails_is_said_in_words_and_its_log_holds_the_rest(tmp_path):
    done, log = run(tmp_path, "import a_package_that_is_not_there")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "[draw_thing] draw_thing could not start: No module named 'a_package_that_is_not_there'; install what is missing" in done.stderr
    assert "Traceback" in log and "ERROR draw_thing could not start: No module named" in log


def test_any_other_error_before_the_stage_too(tmp_path):
    done, log = run(tmp_path, "raise ValueError('module://x is no backend\\nsecond line')")
    assert "draw_thing could not start: module://x is no backend" in done.stderr and "second line" not in done.stderr
    assert "second line" in log


def test_a_library_from_elsewhere_is_refused(tmp_path):
    """As with another clone's library in PYTHONPATH, or an installed one: it comes before the script's own folder."""
    other = tmp_path / "other/darkhaloscope"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("")
    done, log = run(tmp_path, "print('ran')", scriptdir=other.parent)
    assert done.returncode == 1 and "ran" not in done.stdout
    assert f"the library was imported from {SCRIPTS / 'darkhaloscope'}, but this job's code is {other}" in done.stderr
    assert "PYTHONPATH" in done.stderr and "would not be what is recorded" in log


def test_the_library_beside_the_script_by_another_way_is_the_same(tmp_path):
    (tmp_path / "link").symlink_to(SCRIPTS)
    assert before_stage.other_library(SimpleNamespace(scriptdir=str(tmp_path / "link"))) is None
    assert before_stage.other_library(SimpleNamespace(scriptdir=str(tmp_path))) is None
    assert before_stage.other_library(SimpleNamespace()) is None


class Named(list):
    def __init__(self, **named):
        super().__init__(named.values())
        self.named = named
        self.__dict__.update(named)

    def items(self):
        return self.named.items()


def job(tmp_path, **params):
    return SimpleNamespace(
        rule="build_index",
        input=Named(),
        output=Named(page=str(tmp_path / "index.html")),
        params=Named(**params),
        wildcards=Named(),
        threads=1,
        log=[str(tmp_path / "log.txt")],
        scriptdir=str(SCRIPTS),
    )


def test_code_that_was_edited_after_the_run_began_is_not_run_under_the_old_digest(tmp_path, capsys):
    with pytest.raises(SystemExit), stage(job(tmp_path, code="0123456789abcdef")):
        pytest.fail("ran")
    assert "the code of rule build_index was edited after this run had begun" in capsys.readouterr().err
    with stage(job(tmp_path, code=digest.code_digest(SCRIPTS / "build_index.py"))) as running:
        running.write_text(running.output.page, "page")
    assert (tmp_path / "provenance/index.html.json").is_file()


def test_a_part_of_a_task_that_was_edited_after_the_run_began_is_not_run_either(tmp_path, capsys):
    planned = digest.digest_with(SCRIPTS / "build_index.py", "tasks/subhalo/checks.py")
    script, _, part = planned.partition("-")
    edited, place = f"{script}-0123456789abcdef:{part.partition(':')[2]}", f"{script}-{part.replace('subhalo', 'lensfinder')}"
    for wrong in (edited, place, planned.replace(script, "0123456789abcdef")):
        with pytest.raises(SystemExit), stage(job(tmp_path, code=wrong)):
            pytest.fail("ran")
        assert "the code of rule build_index was edited after this run had begun" in capsys.readouterr().err
    with stage(job(tmp_path, code=planned)) as running:
        running.write_text(running.output.page, "page")
    assert (tmp_path / "provenance/index.html.json").is_file()


def test_an_input_edited_while_a_job_reads_it_is_refused(tmp_path, capsys):
    table = tmp_path / "table.csv"
    table.write_text("a")
    given = job(tmp_path)
    given.input = Named(table=str(table))
    with pytest.raises(SystemExit), stage(given) as running:
        table.write_text("other")
        running.write_text(running.output.page, "page")
    assert "table.csv changed while this job read it" in capsys.readouterr().err
    assert not (tmp_path / "provenance").exists()


def child(tmp_path, code):
    """What a child of Snakemake's process prints after `prepare`, as a job is one."""
    shadow = tmp_path / "darkhaloscope"
    shadow.mkdir()
    (shadow / "__init__.py").write_text("")
    parent = (
        f"import sys; sys.path.insert(0, {str(SCRIPTS)!r})\nfrom pathlib import Path\nfrom darkhaloscope.config.run import load\n"
        f"from darkhaloscope.jobs.startup import braces, prepare\nprepare({{}}, load({{}}, Path({str(SCRIPTS.parents[1])!r})))\nimport subprocess\n"
        f"print(subprocess.run([sys.executable, '-c', {code!r}], capture_output=True, text=True, check=True).stdout)\n"
    )
    done = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-800:]
    return done.stdout.split()


def test_what_a_notebook_or_a_shell_sets_for_its_children_is_not_what_jobs_draw_and_import_with(tmp_path, monkeypatch):
    """How to draw, and whose library; in a process of its own, where importing matplotlib would fail."""
    for name, value in (("MPLBACKEND", "module://matplotlib_inline.backend_inline_that_is_not_here"), ("PYTHONPATH", str(tmp_path))):
        monkeypatch.setenv(name, value)
    backend, library = child(tmp_path, "import matplotlib.pyplot as p, darkhaloscope as d; print(p.get_backend(), d.__file__)")
    assert backend.lower() == "agg" and library == str(SCRIPTS / "darkhaloscope/__init__.py")


def test_what_a_person_set_for_figures_and_loops_of_their_own_is_not_what_jobs_have(tmp_path, monkeypatch):
    """A matplotlibrc that asks for LaTeX, and a numba that compiles nothing, with no thread."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "matplotlibrc").write_text("text.usetex: True\nfont.size: 30\n")
    shell = {"MPLCONFIGDIR": str(own), "MATPLOTLIBRC": str(own), "NUMBA_DISABLE_JIT": "1", "NUMBA_NUM_THREADS": "0"}
    for name, value in shell.items():
        monkeypatch.setenv(name, value)
    code = "import matplotlib as m, numba; print(m.rcParams['font.size'], m.rcParams['text.usetex'], numba.config.DISABLE_JIT)"
    assert child(tmp_path, code) == ["10.0", "False", "0"]


def test_a_job_without_a_home_reads_the_sky_and_draws(tmp_path, monkeypatch):
    """astropy and matplotlib keep things in the home as well."""
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, "/dev/null/nowhere")
    code = (
        "import matplotlib.pyplot as p; from astropy.coordinates import SkyCoord; print(SkyCoord('10d 1d').ra.deg);"
        f"p.title('″'); p.savefig({str(tmp_path / 'a.png')!r})"
    )
    assert child(tmp_path, code) == ["10.0"] and (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"


def test_a_project_below_a_folder_with_braces_is_said_in_words():
    assert "expected a path without braces" in braces("/home/me/halo{s}") and "/home/me/halo{s}" in braces("/home/me/halo{s}")
    assert braces("/home/me/halo (2) [x] é%#") is None
