"""Completeness surfaces and selection functions against a known completeness, and pairs of strata."""

import json

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit
from statsmodels.stats.proportion import proportion_confint

from darkhaloscope.config.experiment import Evaluation, Stratum
from darkhaloscope.core.rates import EvaluationError
from darkhaloscope.evaluation import selection
from darkhaloscope.evaluation.completeness import map_completeness
from darkhaloscope.evaluation.scored import read_split
from darkhaloscope.evaluation.strata import cut_pairs
from darkhaloscope.evaluation.surfaces import CELLS, Surface
from darkhaloscope.report.completeness import draw_completeness

THETA, PSF = "theta_e_arcsec", "psfsize_r"


def truth(theta, psf):
    return expit(2.5 * (theta - 1.2) - 2 * (psf - 1.2) - 1.5 * (theta - 1.2) * (psf - 1.2))


def table(n=20_000, split="test"):
    """Positives score 0.9 with the known probability, else 0.1; a fifth of the controls scores 0.8, the rest 0."""
    rng = np.random.default_rng([n, len(split)])
    label = np.arange(n) % 2
    theta, psf = rng.uniform(0.5, 2.5, n), rng.uniform(0.9, 1.6, n)
    found = rng.random(n) < truth(theta, psf)
    score = np.where(label == 1, np.where(found, 0.9, 0.1), np.where(rng.random(n) < 0.2, 0.8, 0.0))
    return pa.table(
        {
            "stamp_id": [f"{split}{i}" for i in range(n)],
            "split": [split] * n,
            "label": label,
            "score": score,
            THETA: np.where(label == 1, theta, np.nan),
            PSF: psf,
            "mag_r": rng.normal(19.5, 0.5, n),
        }
    )


EVALUATION = Evaluation(
    strata={THETA: Stratum(edges=(0.5, 1.0, 1.5, 2.5), of_positives=True), PSF: Stratum(quantiles=2)},
    surfaces=((THETA, PSF), (THETA, PSF, "mag_r")),
    surface_bins=3,
    fprs=(0.02, 1e-5),
)


@pytest.fixture(scope="module")
def mapped():
    whole = pa.concat_tables([table(), table(split="validation")])
    return map_completeness({("sky", 1): whole}, EVALUATION, {THETA: "arcsec"}, network="lens")


def test_cells_are_counts_with_wilsons_interval(mapped):
    cells = mapped[0]
    assert tuple(cells.columns) == CELLS and set(cells.fpr) == {0.02}
    flat = cells[cells.surface == f"{THETA} × {PSF}"]
    assert len(flat) == 9 and flat.n.sum() == 10_000 and len(cells) == 9 + 27
    positives = table().to_pandas().query("label == 1")
    cell = flat.iloc[4]
    inside = positives[positives[THETA].between(cell.x_low, cell.x_high) & positives[PSF].between(cell.y_low, cell.y_high)]
    assert (cell.n, cell.passed) == (len(inside), (inside.score == 0.9).sum())
    assert (cell.low, cell.high) == pytest.approx(proportion_confint(cell.passed, cell.n, method="wilson"), abs=1e-12)
    assert (flat.note == "").all()


def test_the_fit_is_the_known_completeness(mapped, tmp_path):
    selection.write(tmp_path / "selection.json", mapped[1])
    read = selection.read(tmp_path / "selection.json", fpr=0.02, surface=f"{THETA} × {PSF}")
    rng = np.random.default_rng(5)
    catalogue = {THETA: rng.uniform(0.6, 2.4, 500), PSF: rng.uniform(0.95, 1.55, 500)}
    expected = truth(catalogue[THETA], catalogue[PSF])
    found = read.completeness(catalogue)
    # 10,000 positives on 14 parameters: ½ √(14/10⁴) = 0.019 is expected of the root mean square; twice that is allowed.
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.038
    low, high = read.interval(catalogue)
    assert (low < found).all() and (found < high).all()
    np.testing.assert_array_equal(found, mapped[1][0].completeness(pa.table(catalogue)))
    assert json.loads((tmp_path / "selection.json").read_text())["selections"][0]["axes"][0]["unit"] == "arcsec"


def test_coverage_of_the_fits_interval():
    rng, hits = np.random.default_rng(7), []
    points = {THETA: rng.uniform(0.6, 2.4, 40), PSF: rng.uniform(0.95, 1.55, 40)}
    expected = truth(points[THETA], points[PSF])
    for _ in range(60):
        values = np.column_stack([rng.uniform(0.5, 2.5, 3000), rng.uniform(0.9, 1.6, 3000)])
        surface = Surface((THETA, PSF), values, (rng.random(3000) < truth(*values.T)).astype(float))
        low, high = selection.fit_selection(surface, 0.5, {}, rng, {}).interval(points)
        hits.append(np.mean((low <= expected) & (expected <= high)))
    # 60 fits whose points move together, in about ten ways: a standard error of about 1%. The ridge penalty biases a little.
    assert 0.91 <= np.mean(hits) <= 0.99


def test_beyond_the_range_the_fit_is_clipped_and_says_so(mapped):
    fit = mapped[1][0]
    catalogue = {THETA: [99.0, 2.49, np.nan], PSF: [1.2, 1.2, 1.2]}
    found = fit.completeness(catalogue)
    assert found[0] == pytest.approx(found[1], abs=0.02) and np.isnan(found[2])
    assert fit.within(catalogue).tolist() == [False, True, False]
    with pytest.raises(EvaluationError, match="no column psfsize_r"):
        fit.completeness({THETA: [1.0]})


@pytest.mark.parametrize("seed", range(4))
def test_the_fit_rises_as_the_truth_does_where_positives_are_few_or_none(seed):
    """Einstein radii in two clumps with a gap between them, arc S/N with a long tail that follows the radius: corners are empty."""
    rng = np.random.default_rng(seed)
    n = 1500
    theta = np.where(rng.random(n) < 0.5, rng.uniform(0.5, 0.8, n), rng.uniform(2.1, 2.5, n))
    snr = np.exp(rng.normal(1.0 + 0.8 * (theta - 1.5), 0.5))
    passed = rng.random(n) < expit(1.5 * (theta - 1.5) + 2 * np.log(snr / 3))
    fit = selection.fit_selection(Surface((THETA, "arc_snr"), np.column_stack([theta, snr]), passed.astype(float)), 0.5, {}, rng, {})
    # Along either column the truth rises: a fit that oscillates falls by more than its own noise somewhere.
    for name, other in ((THETA, "arc_snr"), ("arc_snr", THETA)):
        axis = fit.axes[fit.columns.index(name)]
        for quantile in (0.3, 0.5, 0.7):
            fixed = np.quantile({THETA: theta, "arc_snr": snr}[other], quantile)
            line = {name: np.linspace(axis.knots[0], axis.knots[-1], 200), other: np.full(200, fixed)}
            values = fit.completeness(line)
            assert (np.maximum.accumulate(values) - values).max() < 0.05
    corner = {THETA: [0.52], "arc_snr": [fit.axes[1].knots[-1] * 0.9]}
    assert fit.within(corner).tolist() == [False] and [end.tolist() for end in fit.interval(corner)] == [[0.0], [1.0]]
    assert fit.within({THETA: theta, "arc_snr": snr}).all()


def test_files_that_are_no_selection_functions(tmp_path, mapped):
    (tmp_path / "x.json").write_text('{"format": "other"}')
    with pytest.raises(EvaluationError, match=r"x\.json: expected a file of selection functions .*found format `other`"):
        selection.read(tmp_path / "x.json")
    selection.write(tmp_path / "y.json", mapped[1])
    with pytest.raises(
        EvaluationError, match=r"no selection function with \{'fpr': 0\.5\}; it holds: theta_e_arcsec × psfsize_r at FPR 0\.02"
    ):
        selection.read(tmp_path / "y.json", fpr=0.5)


def test_few_positives_have_cells_and_no_fit():
    cells, fits = map_completeness({("sky", 1): table(n=3000)}, EVALUATION, {})
    assert fits and "own controls" in cells.note.iloc[0]
    cells, fits = map_completeness({("sky", 1): table(n=600)}, EVALUATION.model_copy(update={"fprs": (0.05,)}), {})
    assert len(cells) and len(fits) == 2
    cells, fits = map_completeness({("sky", 1): table(n=300)}, EVALUATION.model_copy(update={"fprs": (0.1,)}), {})
    assert cells.n.sum() == 300 and not fits
    [row] = map_completeness({("sky", 1): table(n=300)}, EVALUATION.model_copy(update={"surfaces": ((THETA, PSF),)}), {})[0].to_dict(
        "records"
    )
    assert "too few controls" in row["note"]


def test_the_picture_has_cells_and_fit(mapped):
    figure = draw_completeness(*mapped)
    # One row for the surface of two columns, one for each of three cells of the third column of the other one.
    drawn = figure.axes[:8]
    assert [len(a.collections) > 0 for a in drawn] == [True] * 8 and figure.axes[8].get_ylabel() == "completeness"
    slices = mapped[0][mapped[0].z == "mag_r"].drop_duplicates("z_low").sort_values("z_low")
    for axis, low in zip(drawn[2::2], slices.z_low, strict=True):
        assert f"{low:.4g}–" in axis.get_title()
    texts = [t.get_text() for t in figure.axes[0].texts]
    flat = mapped[0].iloc[:9]
    assert texts == [f"{c:.2f}\n{n}" for c, n in zip(flat.completeness, flat.n, strict=True)]


def test_pairs_are_cells_of_both_cuts():
    scored = read_split(table(n=2000), "test", "t")
    groups = list(cut_pairs(scored, [(THETA, PSF)], EVALUATION.strata))
    assert [g.column for g in groups] == [f"{THETA} × {PSF}"] * 6 and groups[0].stratum.startswith("0.5–1, 0.9")
    assert sum(len(g.positives) for g in groups) == 1000 and all(len(g.negatives) == 1000 for g in groups)
    theta = np.asarray(scored.values(THETA))
    assert (theta[groups[0].positives] < 1.0).all()


def test_config_of_pairs_and_surfaces_in_words():
    with pytest.raises(ValueError, match="pairs name nothing, which strata does not cut"):
        Evaluation(pairs=(("theta_e_arcsec", "nothing"),))
    with pytest.raises(ValueError, match="two or three different columns"):
        Evaluation(surfaces=(("theta_e_arcsec",),))
