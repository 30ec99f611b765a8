"""Bootstraps over clusters: what is drawn, weighted rates against scikit-learn, coverage where stamps of a cluster are alike."""

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve

from darkhaloscope.config.experiment import Evaluation, Stratum
from darkhaloscope.core.intervals import delong_interval, percentiles, tpr_at_fpr_interval
from darkhaloscope.core.rates import auc, rank
from darkhaloscope.core.resampling import Draws, Gathered, Resampled
from darkhaloscope.evaluation import resampled_clusters
from darkhaloscope.evaluation.clusters import GROUPS, find_clusters
from darkhaloscope.evaluation.comparison import compare_networks
from darkhaloscope.evaluation.evaluate import evaluate_network
from darkhaloscope.evaluation.resampled_clusters import joined, over, widest


def named(values, label):
    return find_clusters(pa.table({"host": values}), np.asarray(label, bool), "host")


def test_a_cluster_is_drawn_as_a_whole_and_stamps_without_one_by_one():
    label = np.arange(90) % 2 == 0
    clusters = named([f"g{i // 3}" if i < 60 else None for i in range(90)], label)
    assert clusters.pools == (20, 15, 15) and clusters.count(np.arange(90)) == 20 and clusters.count(np.arange(58, 90)) == 1
    [weights] = clusters.row_weights(np.random.default_rng(4), 50)
    of_cluster = weights[:, :60].reshape(50, 20, 3)
    assert np.all(of_cluster == of_cluster[:, :, :1]) and np.all(of_cluster[:, :, 0].sum(axis=1) == 20)
    assert np.all(weights[:, 60:][:, label[60:]].sum(axis=1) == 15) and np.any(weights[:, 60:] != weights[:, 60:61])


@pytest.mark.parametrize(
    "values",
    [
        pa.array([7, 7, 9, None]),
        pa.array([2**60, 2**60, 2**60 + 1, None]),
        pa.array([0.5, 0.5, 1.5, np.nan]),
        pa.array(["a", "a", "b", None]).dictionary_encode(),
        pa.chunked_array([["a"], ["a", "b", None]]),
    ],
)
def test_clusters_of_every_kind_of_column(values):
    code = named(values, [1, 0, 1, 0]).code
    assert code[0] == code[1] != code[2] and code[3] == 2


def test_columns_without_a_value_make_no_clusters():
    assert named(pa.array([None, None], pa.string()), [1, 0]) is None
    assert find_clusters(pa.table({"a": [1]}), np.ones(1, bool), "host") is None
    assert find_clusters(pa.table({"ra": [1.0]}), np.ones(1, bool), "healpix-4") is None


def test_cells_of_the_sky_are_clusters():
    ra, dec = np.meshgrid(np.linspace(0, 359, 100), np.degrees(np.arcsin(np.linspace(-0.99, 0.99, 50))))
    table = pa.table({"ra": [*ra.ravel(), np.nan], "dec": [*dec.ravel(), 1.0]})
    found = find_clusters(table, np.ones(5001, bool), "healpix-2")
    # 12 · 2² cells, all of which 5,000 positions reach; one has no position.
    assert found.pools == (48, 1, 0) and found.code[-1] == 48


def test_very_many_clusters_share_groups_and_stay_whole():
    host = np.arange(200_000) // 4
    found = named(host, np.arange(len(host)) % 2)
    assert found.pools == (GROUPS, 0, 0)
    assert np.all(found.code.reshape(-1, 4) == found.code[::4, None])
    # 48 or 49 hosts in each group, and a few more where hashes collide (300 of 50,000 in 4 million).
    sizes = np.bincount(found.code)
    assert sizes.min() >= 180 and sizes.max() <= 216
    # Neighbours do not stay together: a group holds each 1/1024 of the hosts by chance.
    assert np.mean(found.code[:-4:4] == found.code[4::4]) < 0.01


def sample(n, clusters, seed, spread=1.0, ties=None):
    """Return score, label, cluster: half positives; a cluster's stamps share an offset, its two classes the same one."""
    rng = np.random.default_rng(seed)
    cluster, label = rng.integers(0, clusters, n), rng.random(n) < 0.5
    score = rng.normal(size=n) + 1.5 * label + spread * rng.normal(size=clusters)[cluster]
    return (score if ties is None else np.round(score, ties)), label, cluster


def weighted(score, label, weight, fprs):
    """Return AUC and the greatest TPR at FPR ≤ f of scikit-learn's weighted ROC."""
    fpr, tpr, _ = roc_curve(label, score, sample_weight=weight, drop_intermediate=False)
    return roc_auc_score(label, score, sample_weight=weight), [tpr[fpr <= f + 1e-9].max() for f in fprs]


@pytest.mark.parametrize("ties", [None, 1])
def test_rates_of_drawn_clusters_are_the_weighted_ones_of_sklearn(ties):
    score, label, cluster = sample(1500, 60, 1, ties=ties)
    found, fprs, rows = named(cluster, label), (0.01, 0.1), np.arange(100, 1400)
    weights = found.draw(np.random.default_rng(2), 15)
    draws = Gathered(score, label, rows, found.code, weights.shape[1], fprs, (0.5,), (0.7,)).rates(weights)
    for i, w in enumerate(weights[:, found.code[rows]]):
        area, tprs = weighted(score[rows], label[rows], w, fprs)
        assert draws.auc[i] == pytest.approx(area, abs=1e-12)
        np.testing.assert_allclose(draws.tpr[i], tprs, atol=1e-12)
        passed = score[rows] > 0.7
        assert draws.passed_negatives[i, 0] == pytest.approx(np.average(passed[~label[rows]], weights=w[~label[rows]]))
    exact = Draws.join([Resampled(score, label, rows, fprs, (0.5,), (0.7,)).rates(weights[:, found.code])])
    for name in ("auc", "tpr", "fpr", "passed_positives"):
        np.testing.assert_allclose(getattr(draws, name), getattr(exact, name), atol=1e-12)


@pytest.mark.parametrize(("n", "clusters", "spread"), [(60_000, 40, 1.0), (60_000, 5000, 0.3), (60_000, 100_000, 0.0)])
def test_steps_of_score_give_the_draws_of_every_score(n, clusters, spread):
    """Where not every score is a step, thresholds are found to ⅛ of their standard deviation: an interval's ends hardly move."""
    score, label, cluster = sample(n, clusters, 3, spread)
    found, fprs, tprs, cuts = named(cluster, label), (0.1, 0.01, 0.001), (0.5, 0.9, 0.99), (2.0,)
    weights, rows = found.draw(np.random.default_rng(5), 200), np.arange(n)
    stepped = Gathered(score, label, rows, found.code, weights.shape[1], fprs, tprs, cuts).rates(weights)
    every = Resampled(score, label, rows, fprs, tprs, cuts).rates(weights[:, found.code])
    np.testing.assert_allclose(stepped.auc, every.auc, atol=0.05 * every.auc.std())
    np.testing.assert_array_equal(stepped.passed_negatives, every.passed_negatives)
    for name in ("tpr", "fpr"):
        a, b = getattr(stepped, name), getattr(every, name)
        # Half a step, 1/16 of a standard deviation, on average; where few stamps pass, a draw's percentile is itself a step.
        assert np.all(np.abs((a - b).mean(axis=0)) <= 0.1 * b.std(axis=0))
        for q in (2.5, 97.5):
            assert np.all(np.abs(np.percentile(a, q, axis=0) - np.percentile(b, q, axis=0)) <= 0.2 * b.std(axis=0))
        # Fewer false positives rather than more.
        assert np.all((a - b).mean(axis=0) <= 1e-12) if name == "tpr" else np.all((a - b).mean(axis=0) >= -1e-12)


def test_random_groups_have_the_variance_of_the_clusters():
    score, label, cluster = sample(40_000, 4000, 7)
    found = named(cluster, label)
    rng, fprs = np.random.default_rng(8), (0.05,)
    of_groups = found.draw(rng, 1000)
    groups = Gathered(score, label, np.arange(40_000), found.code, of_groups.shape[1], fprs).rates(of_groups)
    whole = rng.multinomial(4000, np.full(4000, 1 / 4000), size=1000)
    every = Gathered(score, label, np.arange(40_000), cluster, 4000, fprs).rates(whole.astype(np.uint8))
    # 1,024 groups and 1,000 resamples each: 2.2% twice, and 2.2% of the groups.
    assert groups.auc.std() == pytest.approx(every.auc.std(), rel=0.12)
    assert groups.tpr.std() == pytest.approx(every.tpr.std(), rel=0.12)


@pytest.mark.parametrize(("clusters", "per_cluster"), [(40, 20), (120, 8)])
def test_coverage_where_stamps_of_a_cluster_are_alike(clusters, per_cluster):
    """Normal scores with an offset per cluster and class: AUC and TPR at FPR 0.05 are known.

    250 runs have a standard error of 1.4%.
    """
    rng, spread, f, hits, naive = np.random.default_rng(11), 1.2, 0.05, [], []
    width = np.sqrt(1 + spread**2)
    truth = np.array([stats.norm.cdf(1.5 / width / np.sqrt(2)), stats.norm.sf(stats.norm.isf(f) - 1.5 / width)])
    for _ in range(250):
        label = np.repeat(np.arange(2 * clusters) % 2 == 0, per_cluster)
        cluster = np.repeat(np.arange(2 * clusters), per_cluster)
        score = rng.normal(size=len(label)) + 1.5 * label + spread * rng.normal(size=2 * clusters)[cluster]
        found, rows = named(cluster, label), np.arange(len(label))
        weights = found.draw(rng, 200)
        draws = Gathered(score, label, rows, found.code, weights.shape[1], (f,)).rates(weights)
        assert draws.units == clusters
        low, high = percentiles(np.column_stack([draws.auc, draws.tpr[:, 0]]), 0.95, draws.units)
        hits.append((low <= truth) & (truth <= high))
        low, high = (float(end[0]) for end in tpr_at_fpr_interval(rank(score, label), (f,), rng, 200))
        naive.append(low <= truth[1] <= high)
    assert np.all(np.mean(hits, axis=0) >= 0.90) and np.all(np.mean(hits, axis=0) <= 0.98)
    assert np.mean(naive) < 0.8


def test_the_widest_interval_counts_and_names_its_unit(make_table):
    score, label, cluster = sample(2000, 50, 13)
    # Positives of a brick share their offset, controls of a brick do not; hosts have two stamps each, regions are five.
    extra = {
        "score": score + 0.3 * np.random.default_rng(1).normal(size=2000),
        "label": label.astype(np.int8),
        "brickname": [f"b{c}" for c in np.where(label, cluster, 50 + np.arange(2000) % 50)],
        "object_id": np.arange(2000) // 2,
        "region_id": np.arange(2000) % 5,
        "source_id": pa.array([f"s{i % 3}" if is_lens else None for i, is_lens in enumerate(label)]),
    }
    evaluation = Evaluation(strata={}, bootstrap=200, clusters=("object_id", "source_id", "region_id", "brickname"))
    rates = evaluate_network({("a", 1): make_table(extra=extra)}, evaluation)["rates"].query("seed == '1'")
    row = rates.query("metric == 'tpr_at_fpr' and at == 0.1").iloc[0]
    assert (row.unit, row.interval) == ("brickname", "bootstrap over bricks")
    assert row.note == (
        "3 sources, 20 needed for a bootstrap over sources: the interval holds for these sources alone; "
        "5 sky regions, 20 needed for a bootstrap over sky regions: the interval holds for these sky regions alone"
    )
    given = rates.dropna(subset=["low"])
    assert set(given.unit) <= {"stamp", "object_id", "brickname"} and (rates[rates.low.isna()].unit == "").all()
    assert widest({"a": (np.array([0.1, np.nan]), np.array([0.2, np.nan])), "b": ([0.0, 0.3], [0.3, 0.4])}) == [
        {"low": 0.0, "high": 0.3, "unit": "b"},
        {"low": 0.3, "high": 0.4, "unit": "b"},
    ]


def test_what_hosts_and_sources_add_to_an_interval_is_added_up():
    """By hand: 0.7 with ±0.03 of stamps, ±0.05 of hosts, ±0.04 of regions (which hold hosts) and ±0.06 of sources."""
    found = {unit: ([0.7 - d], [0.7 + d]) for unit, d in (("stamp", 0.03), ("object_id", 0.05), ("region_id", 0.04), ("source_id", 0.06))}
    [row] = joined(found, [0.7])
    reach = np.sqrt(0.05**2 + 0.06**2 - 0.03**2)
    assert (row["low"], row["high"]) == pytest.approx((0.7 - reach, 0.7 + reach)) and row["unit"] == "object_id + source_id"
    assert over(row["unit"]) == "bootstrap over hosts and over sources"
    # One family alone, or none that adds anything: the widest, as it is.
    assert joined({k: v for k, v in found.items() if k != "source_id"}, [0.7])[0] == {
        "low": 0.7 - 0.05,
        "high": 0.7 + 0.05,
        "unit": "object_id",
    }
    assert joined({**found, "source_id": ([0.69], [0.71])}, [0.7])[0]["unit"] == "object_id"
    near_one = {"stamp": ([0.95], [0.99]), "object_id": ([0.9], [0.999]), "source_id": ([0.9], [0.999])}
    assert joined(near_one, [0.97])[0]["high"] == 1


def test_coverage_where_stamps_share_hosts_and_sources():
    """60 hosts of each class and 40 sources with offsets of 0.7 beside noise of 1: the widest interval alone covers 83% of the AUCs.

    150 runs know a coverage of 92% to 2.2%.
    """
    rng, spread, hits, alone = np.random.default_rng(23), 0.7, [], []
    truth = stats.norm.cdf(2 / np.sqrt(2 + 3 * spread**2))
    label = np.arange(1600) % 2 == 0
    for _ in range(150):
        host, source = rng.integers(0, 60, 1600) + 60 * label, np.where(label, rng.integers(0, 40, 1600), -1)
        score = rng.normal(size=1600) + label * (2 + spread * rng.normal(size=40)[source]) + spread * rng.normal(size=120)[host]
        ends = {"stamp": delong_interval(rank(score, label))}
        for name, values in (("object_id", host), ("source_id", [str(s) if s >= 0 else None for s in source])):
            found = find_clusters(pa.table({name: values}), label, name)
            weights = found.draw(rng, 200)
            draws = Gathered(score, label, np.arange(1600), found.code, weights.shape[1], ()).rates(weights)
            ends[name] = percentiles(draws.auc, 0.95, draws.units)
        for rows, kept in ((joined(ends, auc(rank(score, label))), hits), (widest(ends), alone)):
            kept.append(rows[0]["low"] <= truth <= rows[0]["high"])
    assert np.mean(hits) >= 0.88 and np.mean(alone) < 0.88


def test_in_very_large_tables_clusters_are_resampled_over_all_stamps_alone(make_table, monkeypatch):
    monkeypatch.setattr(resampled_clusters, "MOST", 1999)
    score, label, cluster = sample(2000, 50, 13)
    extra = {"score": score, "label": label.astype(np.int8), "host": np.where(label, cluster, 50 + np.arange(2000) % 50)}
    evaluation = Evaluation(strata={"mass_bin": Stratum()}, bootstrap=100, clusters=("host",))
    found = evaluate_network({("a", 1): make_table(extra=extra)}, evaluation)
    assert "host" in set(found["rates"].unit) and set(found["strata"].unit) == {"", "stamp"}
    assert found["strata"].query("metric == 'auc'").note.str.contains("2,000 stamps, clusters are resampled in strata up to 1,999").all()


def test_coverage_of_differences_between_networks_where_a_gain_differs_by_cluster():
    """A network whose gain varies from cluster to cluster: 80 runs have a standard error of 2.4% at 95%, so the band is 88% and above."""
    rng, clusters, n = np.random.default_rng(17), 60, 900
    evaluation = Evaluation(fprs=(0.1,), strata={}, bootstrap=150, clusters=("host",), d_prime_edges=(0, 1))
    alone = evaluation.model_copy(update={"clusters": ()})
    cluster, label = np.arange(n) % clusters, (np.arange(n) // clusters) % 2 == 0
    ids = [str(i) for i in range(n)]

    def networks():
        shared, gain = rng.normal(size=n), 0.5 + 0.8 * rng.normal(size=clusters)
        first = shared + 0.3 * rng.normal(size=n) + label
        second = shared + 0.3 * rng.normal(size=n) + label * (1 + gain[cluster])
        return [{("x", 1): pa.table({"stamp_id": ids, "label": label.astype(int), "score": s, "host": cluster})} for s in (first, second)]

    width = np.sqrt(1.09)
    truth = {
        "delta_auc": stats.norm.cdf(1.5 / np.sqrt(2 * 1.09 + 0.64)) - stats.norm.cdf(1 / width / np.sqrt(2)),
        "delta_tpr_at_fpr": stats.norm.cdf((1.5 - width * stats.norm.isf(0.1)) / np.sqrt(1.09 + 0.64))
        - stats.norm.sf(stats.norm.isf(0.1) - 1 / width),
    }
    hits = {way: np.zeros(2) for way in ("clusters", "stamps")}
    for _ in range(80):
        a, b = networks()
        for way, settings in (("clusters", evaluation), ("stamps", alone)):
            found = compare_networks(a, b, settings).query("seed == '1' and column == 'all'").set_index("metric")
            hits[way] += [found.low[m] <= t <= found.high[m] for m, t in truth.items()]
            if way == "clusters":
                assert set(found.unit) <= {"host", "stamp"} and "bootstrap over values of host" in set(found.interval)
    assert np.all(hits["clusters"] / 80 >= 0.88)
    assert hits["stamps"][0] / 80 < 0.85
