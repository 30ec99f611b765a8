"""Detectors in the config: their kinds, what they need of an experiment, and the names they had before."""

import pytest

from darkhaloscope.config.detectors import Fusion
from darkhaloscope.config.rounds import all_rounds
from darkhaloscope.config.run import Run, validate
from darkhaloscope.config.sweeps import expand
from darkhaloscope.config.wording import ConfigError
from darkhaloscope.config.yaml_files import merge

JOINED = {"kind": "fusion", "of": ["flux", "velocity"]}


def run(added, **experiment):
    return merge(Run().plain(), {"detectors": added, "experiments": {"subhalo": experiment}})


def test_a_fusion_stands_beside_its_members():
    found = validate(run({"joined": JOINED}, detectors=["flux", "velocity", "joined"], comparisons=[["flux", "joined"]]))
    assert isinstance(found.detectors["joined"], Fusion) and found.experiments["subhalo"].main_detector == "joined"
    assert found.detectors["joined"].seeds_of((1, 2, 3)) == (0,) and found.detectors["flux"].seeds_of((1, 2, 3)) == (1, 2, 3)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"networks": {"flux": {"width": 8}}}, ["networks is now detectors"]),
        ({"experiments": {"subhalo": {"networks": ["flux"]}}}, ["experiments.subhalo", "networks is now detectors"]),
        (
            {"sweeps": {"s": {"experiment": "subhalo", "grid": {"network.width": [8, 16]}}}},
            ["`network.` is now `detector.`", "detector.width"],
        ),
        ({"detectors": {"x": {"kind": "fussion", "of": ["flux", "both"]}}}, ["detectors.x", "kind must be one of", "fusion"]),
        ({"detectors": {"x": {**JOINED, "off": 1}}}, ["unknown key `detectors.x.off`", "nearest: `of`"]),
        ({"detectors": {"x": {**JOINED, "of": ["flux"]}}}, ["detectors.x.of"]),
        (run({"x": JOINED}, detectors=["flux", "x"], comparisons=[]), ["joins velocity in x", "add it there"]),
        (
            run({"x": {**JOINED, "seeds": [7]}}, detectors=["flux", "velocity", "x"], comparisons=[]),
            ["joins seeds 7 in x", "set the fusion's seeds"],
        ),
        (
            run({"x": JOINED, "y": {**JOINED, "of": ["flux", "x"]}}, detectors=["flux", "velocity", "x", "y"], comparisons=[]),
            ["x in y, which is a fusion itself"],
        ),
        (
            run({"x": {"kind": "table", "scores": {"other": "mine.csv"}}}, detectors=["flux", "x"], comparisons=[]),
            ["needs scores of subhalo by x", "detectors.x.scores.subhalo"],
        ),
        (run({"x": {**JOINED, "channels": "bands"}}, detectors=["flux", "velocity", "x"], comparisons=[]), ["whose channels are `bands`"]),
    ],
)
def test_wrong_detectors_are_refused_in_words(values, words):
    with pytest.raises(ConfigError) as error:
        validate(merge(Run().plain(), values))
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_sweep_over_members_makes_fusions_of_what_became_of_them():
    values = run({"joined": JOINED}, detectors=["flux", "velocity", "joined"], comparisons=[])
    values["sweeps"] = {"s": {"experiment": "subhalo", "grid": {"detector.width": [32, 8]}}}
    found, points = expand(validate(values))
    of = [found.detectors[found.experiments[p.experiment].detectors[2]].of for p in points["s"]]
    assert of == [("flux", "velocity"), ("flux+width=8", "velocity+width=8")]


PAIRS = {"detectors": {"flux": {"training": {"pairs": {}}}}}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (PAIRS, ["trains flux on noiseless pairs", "set datasets.subhalo.pairs"]),
        ({"datasets": {"subhalo": {"contrast": "lensed", "pairs": True}}}, ["one lens with and without a subhalo", "leave out pairs"]),
        ({"detectors": {"flux": {"training": {"pairs": {"twin": True}}}}}, ["twin", "nearest: `twins`"]),
        (
            {"detectors": {"flux": {"training": {"pairs": {"place_weight": 0.2, "lens_weight": 1}}}}},
            ["place_weight and lens_weight", "architecture unet", "deep_baseline"],
        ),
        ({"detectors": {"flux": {"training": {"batch_size": 63, "pairs": {}}}}}, ["no number of twins", "even batch_size"]),
        ({"detectors": {"flux": {"training": {"pairs": {"amplify": 0.5}}}}}, ["amplify"]),
        ({"detectors": {"flux": {"training": {"pairs": {"amplify_share": 0}}}}}, ["amplify_share"]),
        ({"detectors": {"shuffled": {"training": {"pairs": {}}}}}, ["shuffle_velocity", "leave out one of them"]),
        ({"detectors": {"lens": {"channels": "bands", "training": {"pairs": {}}}}}, ["channels is `bands`", "leave out pairs"]),
        ({"detectors": {"lens": {"channels": "bands", "architecture": "unet"}}}, ["map of where a subhalo is", "choose slim"]),
    ],
)
def test_wrong_training_on_pairs_is_refused_in_words(values, words):
    with pytest.raises(ConfigError) as error:
        validate(merge(Run().plain(), values))
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    ("architecture", "words"),
    [
        ("timm:resnet81", ["timm library has no architecture `resnet81`", "`timm:resnet18`"]),
        ("timm:", ["timm library has no architecture ``", "`timm.list_models()` has all"]),
        ("resnet34", ["the timm library has it: write `timm:resnet34`"]),
        ("slimm", ["unknown architecture `slimm` (nearest: `slim`)"]),
    ],
)
def test_a_misspelt_architecture_is_found_before_anything_runs(architecture, words):
    with pytest.raises(ConfigError) as error:
        validate(merge(Run().plain(), {"detectors": {"lens": {"architecture": architecture}}}))
    assert all(word in str(error.value) for word in words), str(error.value)


def test_training_on_pairs_is_taken_where_the_dataset_keeps_them_and_changes_nothing_else():
    with_pairs = merge(PAIRS, {"datasets": {"subhalo": {"pairs": True}}})
    found = validate(merge(Run().plain(), with_pairs))
    assert found.detectors["flux"].trains_on_pairs and not found.detectors["both"].trains_on_pairs
    # A network that has no such key has the section that it had before there was one.
    assert "pairs" not in found.detectors["both"].plain()["training"]
    turned_off = validate(merge(merge(Run().plain(), with_pairs), {"detectors": {"flux": {"training": {"pairs": None}}}}))
    assert not turned_off.detectors["flux"].trains_on_pairs


def test_networks_that_see_the_evidence_need_its_maps():
    seen = {"detectors": {"flux": {"sees": "evidence"}}}
    with pytest.raises(ConfigError, match="trains flux on maps of the evidence detector, which are not kept: set evidence.maps"):
        validate(merge(Run().plain(), seen))
    found = validate(merge(Run().plain(), merge(seen, {"evidence": {"maps": True}})))
    assert found.detectors["flux"].sees_evidence and not found.detectors["both"].sees_evidence
    for wrong in ({"channels": "mask"}, {"training": {"pairs": {}}}, {"channels": "both", "shuffle_velocity": True}):
        with pytest.raises(ConfigError, match="sees: evidence has maps of flux, velocity or both"):
            validate(merge(Run().plain(), merge(seen, {"evidence": {"maps": True}, "detectors": {"flux": wrong}})))


FIXED = {key: 0 for key in ("ellipticity", "shear", "multipole_m3", "multipole_m4", "centre_offset_arcsec")} | {
    "theta_e_arcsec": 1,
    "slope": 2,
}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"contrast": "kinematics"}, r"shows evidence the stamps of bare, whose label is not a subhalo \(contrast kinematics\)"),
        ({"instrument": {"noise": {"background_share": 0}}}, "shows evidence the stamps of bare, whose flux has no noise on dark sky"),
        ({"instrument": {"noise": {"flux": False}}}, "whose flux has no noise on dark sky that could be measured"),
        ({"lens": FIXED}, "shows evidence the stamps of bare, whose lenses are all one: let lens.theta_e_arcsec"),
        ({"lens": FIXED | {"shear": 0.05}}, None),
        ({"lens": FIXED | {"theta_e_arcsec": {"uniform": [1, 1.01]}}}, None),
        ({"lens": FIXED | {"profile": "sie", "slope": {"uniform": [1.9, 2.1]}}}, "whose lenses are all one"),
    ],
)
def test_the_model_based_detector_needs_a_subhalo_noise_and_lenses_that_differ(values, words):
    """Said before the run begins: a job would say it hours later, or of each stamp in its log alone."""
    bare = {"size": {"train": 0, "validation": 40, "test": 40}, "sources": {"mix": {"disk": 1.0}}}
    run = {
        "run": ["bare"],
        "datasets": {"bare": merge(bare, values)},
        "detectors": {"evidence": {"kind": "evidence"}},
        "experiments": {"bare": {"question": "?", "dataset": "bare", "detectors": ["evidence"]}},
    }
    if words is None:
        assert validate(run).datasets["bare"].lens.varies
    else:
        with pytest.raises(ConfigError, match=words):
            validate(run)


def test_stamps_seen_with_the_priors_of_another_dataset_need_noise_alone():
    bare = {"size": {"train": 0, "validation": 40, "test": 40}, "sources": {"mix": {"disk": 1.0}}}
    run = {
        "run": ["bare"],
        "datasets": {"bare": bare, "one": merge(bare, {"lens": FIXED})},
        "detectors": {"evidence": {"kind": "evidence"}},
        "experiments": {"bare": {"question": "?", "dataset": "bare", "tests": ["one"], "detectors": ["evidence"]}},
    }
    assert not validate(run).datasets["one"].lens.varies
    run["datasets"]["one"]["instrument"] = {"noise": {"flux": False}}
    with pytest.raises(ConfigError, match="shows evidence the stamps of one, whose flux has no noise on dark sky"):
        validate(run)


@pytest.mark.parametrize(
    ("detectors", "words"),
    [
        (["evidence"], None),
        (["evidence", "flux"], "trains on bare, which has no train stamps"),
        (["joined"], "trains on bare, which has no train stamps"),
    ],
)
def test_training_stamps_are_needed_where_something_is_trained(detectors, words):
    """A fusion's members are networks, whether the experiment names them or not; the model-based detector has validation stamps alone."""
    values = {
        "run": ["bare"],
        "datasets": {"bare": {"size": {"train": 0, "validation": 40, "test": 40}, "sources": {"mix": {"disk": 1.0}}}},
        "detectors": {
            "evidence": {"kind": "evidence"},
            "flux": {},
            "velocity": {},
            "joined": {"kind": "fusion", "of": ["flux", "velocity"]},
        },
        "experiments": {"bare": {"question": "?", "dataset": "bare", "detectors": detectors}},
    }
    if words is None:
        assert validate(values).datasets["bare"].shards("train") == 0
    else:
        with pytest.raises(ConfigError, match=words):
            validate(values)


def test_thresholds_need_validation_stamps_whatever_the_detector():
    values = {
        "run": ["bare"],
        "datasets": {"bare": {"size": {"train": 0, "validation": 0, "test": 40}, "sources": {"mix": {"disk": 1.0}}}},
        "detectors": {"evidence": {"kind": "evidence"}},
        "experiments": {"bare": {"question": "?", "dataset": "bare", "detectors": ["evidence"]}},
    }
    with pytest.raises(ConfigError, match="fixes its thresholds on bare, which has no validation stamps"):
        validate(values)


def test_heads_need_real_galaxies_with_labels():
    finder = {
        "datasets": {"sky": {"kind": "lensfinder", "sources": {"mix": {"sersic": 1.0}}}},
        "detectors": {"lens": {"channels": "bands", "architecture": "slim", "head": {}}},
        "experiments": {"finder": {"question": "Is it a lens?", "dataset": "sky", "detectors": ["lens"]}},
    }
    with pytest.raises(
        ConfigError, match=r"fits a head of lens on real galaxies, but sky names none: give them in datasets\.sky\.real_sky"
    ):
        validate(merge(Run().plain(), finder))
    found = validate(merge(Run().plain(), merge(finder, {"datasets": {"sky": {"real_sky": {"path": "real.npz"}}}})))
    assert found.detectors["lens"].head.folds == 10 and found.detectors["both"].head is None
    # A network without a head has the section that it had before there was one.
    assert "head" not in found.detectors["both"].plain()


def headed(**detectors):
    """A finder of two rounds, and a head that is put on it."""
    return {
        "datasets": {"sky": {"kind": "lensfinder", "sources": {"mix": {"sersic": 1.0}}, "real_sky": {"path": "real.npz"}}},
        "detectors": {
            "lens": {"channels": "bands", "architecture": "slim", "rounds": 2, "training": {"epochs": 3}},
            "headed": {"channels": "bands", "head": {"of": "lens"}},
            **detectors,
        },
        "experiments": {"finder": {"question": "Is it a lens?", "dataset": "sky", "detectors": ["lens", "headed"]}},
        "run": ["finder"],
    }


def test_a_head_of_a_network_is_that_network_with_this_head_and_one_round():
    run, _ = expand(validate(headed()))
    lens, found = run.detectors["lens"], run.detectors["headed"]
    assert found.body == "lens" and found.rounds == 1 and lens.body is None
    assert found.without("head", "rounds") == lens.without("rounds") and "of" not in lens.plain().get("head", {})
    # What the network learnt from is what the head's features know.
    assert all_rounds("headed", run.detectors) == all_rounds("lens", run.detectors) == ["lens+round=1", "lens"]
    assert "headed+round=1" not in run.detectors
    # What is written out can be read again.
    again = {name: run.detectors[name].plain() for name in ("lens", "headed")}
    assert expand(validate(headed(**again)))[0].detectors["headed"] == found


@pytest.mark.parametrize(
    ("detectors", "words"),
    [
        ({"headed": {"channels": "bands", "head": {"of": "lenz"}}}, r"detectors\.headed\.head\.of names .*lenz.*lens"),
        ({"headed": {"channels": "bands", "head": {"of": "flux"}}, "flux": {}}, "flux, which is no network of channels `bands`"),
        ({"headed": {"channels": "bands", "head": {"of": "headed"}}}, "headed, which has a head"),
        (
            {"lens": {"channels": "bands", "architecture": "slim", "training": {"real_share": 0.4}}},
            r"lens, which .*learns from real galaxies itself \(training\.real_share\)",
        ),
        ({"lens": {"channels": "bands", "weights": "elsewhere.pt"}}, "lens, which has .*weights from elsewhere"),
        (
            {"headed": {"channels": "bands", "architecture": "timm:resnet18", "width": 8, "head": {"of": "lens"}}},
            "takes all else from lens: leave out architecture, width, or head.of",
        ),
    ],
)
def test_what_a_head_is_put_on_is_a_network_of_its_own(detectors, words):
    with pytest.raises(ConfigError, match=words):
        validate(headed(**detectors))


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        (
            {"detector.training.real_share": [0.5]},
            r"head\.of names lens\+real_share=0\.5, which has a head or weights from elsewhere, or learns",
        ),
        ({"detector.head.of": ["other"]}, r"head\.of names other, which has a head"),
        ({"detector.head.of": ["headed"]}, r"head\.of names headed, which has a head"),
        ({"detector.head.of": ["flux"]}, r"head\.of names flux, which is no network of channels `bands`"),
        ({"detector.head.of": ["lenss"]}, r"sweeps\.s at .*head\.of names `lenss`, which does not exist.*lens"),
    ],
)
def test_a_sweep_puts_heads_on_what_a_config_may_put_them_on(grid, words):
    values = headed(other={"channels": "bands", "architecture": "slim", "head": {}}, flux={})
    values["sweeps"] = {"s": {"experiment": "finder", "grid": grid}}
    with pytest.raises(ConfigError, match=words):
        expand(validate(values))


def test_a_sweep_over_networks_and_what_changes_them_changes_the_one_that_the_head_is_put_on():
    values = headed(wide={"channels": "bands", "architecture": "slim", "width": 16, "training": {"epochs": 3}})
    values["sweeps"] = {"s": {"experiment": "finder", "grid": {"detector.head.of": ["wide"], "detector.training.epochs": [5]}}}
    run, points = expand(validate(values))
    _, found = run.experiments[points["s"][0].experiment].detectors
    body = run.detectors[run.detectors[found].body]
    assert body.width == run.detectors[found].width == 16 and body.training.epochs == run.detectors[found].training.epochs == 5


def test_a_head_of_a_network_that_takes_lenses_of_a_survey_is_refused_where_hosts_are_cutouts():
    values = headed(lens={"channels": "bands", "architecture": "slim", "training": {"known_lens_weight": 2.0}})
    cutouts = {"path": "real.npz", "bands": ["g", "r", "z"], "psf_fwhm_arcsec": {"g": 0.8, "r": 0.8, "z": 0.8}}
    values["datasets"]["sky"] |= {"hosts": {"cutouts": cutouts}, "controls": "paired"}
    values["experiments"]["finder"]["detectors"] = ["headed"]
    with pytest.raises(ConfigError, match=r"has training\.known_lens_weight, which takes lenses of a survey"):
        validate(values)


def test_a_sweep_changes_the_network_and_the_head_that_is_put_on_it():
    """Changes of training are the network's, and its head follows; changes of the head leave the network as it is."""
    values = headed()
    values["sweeps"] = {
        "long": {"experiment": "finder", "grid": {"detector.training.epochs": [3, 5]}},
        "parts": {"experiment": "finder", "grid": {"detector.head.folds": [10, 5]}},
    }
    values["run"] = ["long", "parts"]
    run, points = expand(validate(values))
    assert points["long"][0].experiment == "finder"
    lens, found = run.experiments[points["long"][1].experiment].detectors
    assert run.detectors[lens].training.epochs == 5 and run.detectors[found].body == lens and run.detectors[found].training.epochs == 5
    assert run.detectors["headed"].body == "lens" and run.detectors["headed"].training.epochs == 3
    lens, found = run.experiments[points["parts"][1].experiment].detectors
    assert lens == "lens" and run.detectors[found].body == "lens" and run.detectors[found].head.folds == 5
