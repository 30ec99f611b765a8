"""Ten real COSMOS galaxies lensed into ten real DECam galaxies; run as a program it draws them.

    python tests/real/real_stamps.py FOLDER_OF_REAL_DATA OUT.png

The 46 DECam stamps have no header. Assumed here: the zero point 30 of DES coadds (1 count is 10⁻³ nanomaggies,
which puts the galaxies at r = 17 to 20), DES' median seeing, and pixels of 0.262 arcsec (they are 0.263). The
inverse variance is that of the sky alone. The Einstein radius is that of an isothermal sphere with the velocity
dispersion of map.txt and D_ls/D_s = 0.6.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import fitsio
import numpy as np
import pyarrow as pa

BANDS = "grz"
NANOMAGGIES_PER_COUNT = 10 ** (-0.4 * (30 - 22.5))
SEEING = {"g": 1.12, "r": 0.96, "z": 0.88}
DISTANCE_RATIO = 0.6
COUNT, SIZE, SCALE = 10, 64, 0.262
SOURCE_COLOURS = (0.35, 0.35)


@dataclass(frozen=True)
class RealStamps:
    """Rows and stamps, what they were made from, and the velocity dispersions."""

    stamps: pa.Table
    cutouts: list
    sigma_v: np.ndarray
    dataset: object
    stills: dict


def make_real_stamps(real: Path, folder: Path, src_dmag: float = 1.5) -> RealStamps:
    """Lens the COSMOS galaxies, `src_dmag` fainter than their hosts, into the DECam galaxies of highest velocity dispersion."""
    from darkhaloscope.config.lensfinder import LensFinderDataset
    from darkhaloscope.config.sources import CosmosSources
    from darkhaloscope.sources.cosmos import CosmosImages, list_sources
    from darkhaloscope.tasks.lensfinder.inject import inject_rows

    sources, _ = list_sources(CosmosSources(exclusion="none"), real / "cosmos/paltas-real_galaxy_catalog_23.5.fits")
    # The catalogue knows its images by the name that they had in the archive.
    link = folder / sources["file"][0].as_py()
    if not link.exists():
        link.symlink_to(real / "cosmos/paltas-real_galaxy_images_23.5_n1.fits")
    images = CosmosImages(sources, folder)
    cutouts, sigma_v = real_cutouts(real)
    rows = manifest(sources, cutouts, sigma_v, src_dmag)
    dataset = LensFinderDataset.model_validate({"injection": "gen5", "sources": {"mix": {"cosmos": 1.0}}})
    stills = {"cosmos": lambda row: images(row["source_id"])}
    return RealStamps(inject_rows(rows, dataset, cutouts, stills), cutouts, sigma_v, dataset, stills)


def real_cutouts(real: Path) -> tuple[list, np.ndarray]:
    """Return cutouts of the galaxies of highest velocity dispersion, and those [km/s]."""
    from darkhaloscope.surveys.legacysurvey.bricks import Cutout

    sigma = np.loadtxt(real / "legacysurvey/des46-map.txt", skiprows=1)[:, 0]
    chosen = np.sort(np.argsort(-sigma, kind="stable")[:COUNT])
    planes = np.stack([fitsio.read(str(real / f"legacysurvey/des46-{b}.fits")) for b in BANDS], 1)[chosen]
    # 91 pixels: the galaxy is in the middle of pixel 45, half a pixel from the middle of 64.
    first = 45 - SIZE // 2
    planes = planes[:, :, first : first + SIZE, first : first + SIZE].astype(np.float32) * np.float32(NANOMAGGIES_PER_COUNT)
    sky = np.array([[background(p) for p in stamp] for stamp in planes])
    return [
        Cutout(
            image=stamp,
            invvar=np.broadcast_to((1 / s**2)[:, None, None], stamp.shape).astype(np.float32),
            good=np.ones(stamp.shape, bool),
            psfsize=np.array([1.23 * SEEING[b] for b in BANDS], np.float32),
            bad_fractions=np.zeros(3, np.float32),
            n_not_finite=0,
            ok=True,
            reason="",
            x_offset_arcsec=SCALE / 2,
            y_offset_arcsec=SCALE / 2,
            x0=first,
            y0=first,
            pixel_scale_arcsec=SCALE,
        )
        for stamp, s in zip(planes, sky, strict=True)
    ], sigma[chosen]


def background(plane: np.ndarray) -> float:
    """Return the noise of a pixel, from the differences of neighbours beyond 6 arcsec of the middle: no galaxy's slope enters."""
    axis = (np.arange(SIZE) - (SIZE - 1) / 2) * SCALE
    far = np.hypot(axis[None, :], axis[:, None])[:, 1:] > 6
    difference = np.diff(plane, axis=1)[far]
    return float(1.4826 * np.median(np.abs(difference - np.median(difference))) / np.sqrt(2))


def manifest(sources: pa.Table, cutouts: list, sigma_v: np.ndarray, src_dmag: float) -> pa.Table:
    """Return one row per cutout, every one a positive."""
    from darkhaloscope.tasks.lensfinder.schema import MANIFEST

    axis = (np.arange(SIZE) - SIZE // 2) * SCALE
    near = np.hypot(axis[None, :], axis[:, None]) < 3
    mag = 22.5 - 2.5 * np.log10(np.stack([c.image[:, near].sum(1) for c in cutouts]))
    n = np.arange(COUNT)
    angle, theta = 2 * np.pi * n / COUNT, 4 * np.pi * (sigma_v / 299792.458) ** 2 * DISTANCE_RATIO * 180 / np.pi * 3600
    given = {
        "stamp_id": [f"real-{i}" for i in n], "number": n, "split": ["test"] * COUNT, "label": np.ones(COUNT, int), "task_id": [f"real-{i}" for i in n],
        "experiment_id": ["real"] * COUNT, "region_id": n, "region_split": ["test"] * COUNT, "brickname": [f"des46-{i}" for i in n], "object_id": n,
        "replicate": np.zeros(COUNT, int), "is_control": np.zeros(COUNT, bool), "contaminant_class": [None] * COUNT, "source_kind": ["cosmos"] * COUNT,
        "source_id": sources["ident"].to_pylist(), "src_reff_arcsec": sources["half_light_radius_arcsec"].to_pylist(), "src_dmag": [src_dmag] * COUNT,
        "src_e": [None] * COUNT, "src_n": [None] * COUNT, "src_x_arcsec": 0.15 * theta * np.cos(angle), "src_y_arcsec": 0.15 * theta * np.sin(angle),
        "src_phi_rad": angle, "src_flip": np.zeros(COUNT, bool), "src_gr": [SOURCE_COLOURS[0]] * COUNT, "src_rz": [SOURCE_COLOURS[1]] * COUNT,
        "theta_e_arcsec": theta, "lens_e": [0.15] * COUNT, "lens_phi_rad": angle / 2, "shear": [0.02] * COUNT, "shear_phi_rad": angle / 3,
        **{f"mag_{b}": mag[:, k] for k, b in enumerate(BANDS)}, **{f"psfsize_{b}": [1.23 * SEEING[b]] * COUNT for b in BANDS},
    }  # fmt: skip
    return MANIFEST.table({c.name: given.get(c.name, np.zeros(COUNT)) for c in MANIFEST.columns})


def _rows(name: str, columns: dict) -> pa.Table:
    """Return rows of a manifest with the given columns, and whatever in the others."""
    from darkhaloscope.tasks.lensfinder.schema import MANIFEST

    n = len(columns["label"])
    count = np.arange(n)
    names = [f"{name}-{i}" for i in count]
    plain = {"number": count, "object_id": count, "region_id": count, "stamp_id": names, "task_id": names, "split": ["train"] * n}
    plain |= {"experiment_id": [name] * n, "region_split": ["train"] * n, "brickname": [name] * n, "src_flip": np.zeros(n, bool)}
    plain |= {"contaminant_class": [None] * n, "source_id": [None] * n}
    return MANIFEST.table({c.name: columns.get(c.name, plain.get(c.name, np.zeros(n))) for c in MANIFEST.columns})


# --- checks that an astronomer would make --------------------------------------------------------


def checks(made: RealStamps) -> list[dict[str, float]]:
    """Return, for each stamp: background noise before and after, colours of arc and host, S/N, θ_E and the ring's radius."""
    from darkhaloscope.core.tables import images

    stamps = images(made.stamps, "image").astype(float)
    axis = (np.arange(SIZE) - SIZE // 2) * SCALE
    radius = np.hypot(axis[None, :], axis[:, None])
    out = []
    for row, stamp, cutout in zip(made.stamps.drop_columns(["image"]).to_pylist(), stamps, made.cutouts, strict=True):
        arc = stamp - cutout.image
        light = arc.sum((1, 2))
        host = cutout.image[:, radius < 1.5].sum(1)
        place = np.rint(radius[radius < 4] / SCALE).astype(int)
        ring = np.bincount(place, arc.sum(0)[radius < 4]) / np.bincount(place)
        k = int(ring[1:].argmax()) + 1
        # The peak of the profile between pixels, by a parabola.
        a, b, c = ring[k - 1 : k + 2]
        peak = (k + 0.5 * (a - c) / (a - 2 * b + c)) * SCALE
        out.append(
            {
                "noise_before": background(cutout.image[1]),
                "noise_after": background(stamp[1]),
                "arc_gr": -2.5 * np.log10(light[0] / light[1]),
                "arc_rz": -2.5 * np.log10(light[1] / light[2]),
                "host_gr": -2.5 * np.log10(host[0] / host[1]),
                "host_rz": -2.5 * np.log10(host[1] / host[2]),
                "snr": row["arc_snr_matched"],
                "theta_e": row["theta_e_arcsec"],
                "ring": peak,
            }
        )
    return out


# --- scores of a network that knows the mock survey alone ----------------------------------------


def mock_stamps(bricks: int, seed: int) -> pa.Table:
    """Return stamps of the mock survey's galaxies, every other one with a lensed Sérsic source: what the small network learns from."""
    from darkhaloscope.config.legacysurvey import MockSky
    from darkhaloscope.config.lensfinder import LensFinderDataset
    from darkhaloscope.mock.survey_bricks import draw_sky
    from darkhaloscope.mock.survey_sky import draw_bricks, draw_conditions, draw_things
    from darkhaloscope.surveys.legacysurvey.bricks import Cutout
    from darkhaloscope.tasks.lensfinder.inject import inject_rows

    sky, cutouts, mags = MockSky(bricks=bricks, lens_fraction=0.0), [], []
    for cell in draw_bricks(bricks):
        conditions, things = draw_conditions(cell, sky.brick_size, seed), draw_things(cell, sky, seed)
        pixels = draw_sky(cell, conditions, things, sky.brick_size, seed)
        for thing in things:
            x, y = round(thing.x) - SIZE // 2, round(thing.y) - SIZE // 2
            if thing.kind in ("star", "faint", "field") or min(x, y) < 0 or max(x, y) > sky.brick_size - SIZE:
                continue
            part = np.s_[:, y : y + SIZE, x : x + SIZE]
            offset = ((p - q - (SIZE - 1) / 2) * SCALE for p, q in ((thing.x, x), (thing.y, y)))
            cutouts.append(
                Cutout(
                    pixels.image[part], pixels.invvar[part], np.ones((3, SIZE, SIZE), bool), np.array(conditions.psfsize, np.float32),
                    np.zeros(3, np.float32), 0, True, "", *offset, x, y, SCALE,
                )
            )  # fmt: skip
            mags.append([thing.mags[b] for b in BANDS])
    rng, n = np.random.default_rng(seed), len(cutouts)
    label = np.arange(n) % 2
    columns = {
        "label": label,
        "is_control": label == 0,
        "source_kind": np.where(label, "sersic", None),
        "theta_e_arcsec": np.where(label, rng.uniform(0.8, 2.2, n), 0.0),
        "src_dmag": rng.uniform(0.5, 2.0, n),
        "src_reff_arcsec": rng.uniform(0.1, 0.4, n),
        "src_e": rng.uniform(0, 0.4, n),
        "src_n": np.ones(n),
        "src_gr": rng.normal(0.35, 0.2, n),
        "src_rz": rng.normal(0.35, 0.2, n),
        "lens_e": rng.uniform(0, 0.4, n),
        "shear": rng.uniform(0, 0.05, n),
        **{f"mag_{b}": np.array(mags)[:, k] for k, b in enumerate(BANDS)},
        **{f"psfsize_{b}": np.array([c.psfsize[k] for c in cutouts], float) for k, b in enumerate(BANDS)},
    }
    offsets = columns["theta_e_arcsec"] * rng.uniform(0, 0.5, n), rng.uniform(0, 2 * np.pi, n)
    columns |= {"src_x_arcsec": offsets[0] * np.cos(offsets[1]), "src_y_arcsec": offsets[0] * np.sin(offsets[1])}
    dataset = LensFinderDataset.model_validate({"sources": {"mix": {"sersic": 1.0}}})
    return inject_rows(_rows("mock", columns), dataset, cutouts, {})


def scored_by_a_mock_network(made: RealStamps, folder: Path, bricks: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores of the ten real galaxies with their arcs and without, of a small network trained on the mock survey.

    Training, weights on disk, shards and scoring are those of the chain. Ten galaxies say that real pixels go through it, and
    whether arcs raise their scores; nothing of rates.
    """
    from darkhaloscope.config.network import Network
    from darkhaloscope.core.tables import images, write_table
    from darkhaloscope.learning.fit import train_network
    from darkhaloscope.learning.score import score_split
    from darkhaloscope.learning.weights import load_network, save_network
    from darkhaloscope.tasks.lensfinder.schema import stamp_schema

    schema = stamp_schema(SIZE)
    mock, real = folder / "mock-{}.parquet", folder / "real.parquet"
    table = mock_stamps(bricks, 7)
    held = np.arange(table.num_rows) % 5 == 0
    for name, rows in (("train", ~held), ("validation", held)):
        write_table(str(mock).format(name), schema, table.filter(pa.array(rows)))
    network = Network.model_validate(
        {"channels": "bands", "architecture": "slim", "width": 8, "training": {"epochs": 12, "batch_size": 32, "learning_rate": 0.004}}
    )
    trained = train_network([str(mock).format("train")], [str(mock).format("validation")], network, 1, folder / "checkpoints", 1)
    save_network(trained, folder / "network.safetensors", folder / "network.json")
    without = made.stamps.to_pydict()
    without |= {"image": np.stack([c.image for c in made.cutouts]), "label": [0] * COUNT, "is_control": [True] * COUNT}
    without |= {k: [f"{v}-control" for v in without[k]] for k in ("stamp_id", "task_id")} | {"number": np.arange(COUNT) + COUNT}
    both = [made.stamps.to_pydict() | {"image": images(made.stamps, "image")}, without]
    write_table(real, schema, pa.concat_tables([schema.table({c.name: part[c.name] for c in schema.columns}) for part in both]))
    found = score_split([real], load_network(folder / "network.safetensors", folder / "network.json"))
    assert found.numbers.tolist() == list(range(2 * COUNT))
    return found.score[:COUNT], found.score[COUNT:]


def draw(made: RealStamps, path: Path, scores: tuple[np.ndarray, np.ndarray] | None = None) -> None:
    """Draw cutout, stamp and arc of every galaxy, with the checks below each, and its scores with and without the arc."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from darkhaloscope.core.tables import images

    stamps = images(made.stamps, "image")
    rows = made.stamps.drop_columns(["image"]).to_pylist()
    figure, axes = plt.subplots(
        7, 5, figsize=(9.5, 13.4), height_ratios=[1, 1, 1, 0.28, 1, 1, 1], gridspec_kw={"wspace": 0.05, "hspace": 0.04}
    )
    for axis in axes[3]:
        axis.axis("off")
    half = SIZE * SCALE / 2
    extent = (-half, half, -half, half)
    for k, (row, check) in enumerate(zip(rows, checks(made), strict=True)):
        block, column = divmod(k, 5)
        panels = (made.cutouts[k].image, stamps[k], stamps[k] - made.cutouts[k].image)
        for line, panel in enumerate(panels):
            axis = axes[4 * block + line, column]
            axis.imshow(colours(panel), extent=extent, interpolation="nearest")
            axis.set_xticks([]), axis.set_yticks([])
            axis.set_xlim(-6, 6), axis.set_ylim(-6, 6)
        turn = np.linspace(0, 2 * np.pi, 100)
        x, y = (check["theta_e"] * f(turn) + SCALE / 2 for f in (np.cos, np.sin))
        axes[4 * block + 2, column].plot(x, y, "w:", lw=0.8)
        axes[4 * block, column].set_title(f"σ_v {made.sigma_v[k]:.0f} km/s, r {row['mag_r']:.1f}", fontsize=8)
        text = (
            f"θ_E {check['theta_e']:.2f}″, ring {check['ring']:.2f}″, S/N {check['snr']:.0f}\n"
            f"noise {1e3 * check['noise_before']:.2f} → {1e3 * check['noise_after']:.2f} mnmgy\n"
            f"g−r: arc {check['arc_gr']:.2f}, host {check['host_gr']:.2f}"
        )
        if scores is not None:
            text += f"\nscore {scores[1][k]:.2f} → {scores[0][k]:.2f}"
        axes[4 * block + 2, column].set_xlabel(text, fontsize=7)
    for block in range(2):
        for line, name in enumerate(("DECam galaxy", "with lensed COSMOS galaxy", "what was added; dotted: θ_E")):
            axes[4 * block + line, 0].set_ylabel(name, fontsize=8)
    figure.subplots_adjust(0.04, 0.05, 0.99, 0.975)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def colours(stamp: np.ndarray) -> np.ndarray:
    """z, r, g as red, green, blue with one asinh stretch: north up, east to the left where rows go north and columns west."""
    scaled = stamp[::-1][:, ::-1].transpose(1, 2, 0) * np.array([0.45, 0.9, 1.7]) / 0.01
    mean = np.maximum(scaled.mean(-1, keepdims=True), 1e-6)
    return np.clip(scaled / mean * np.arcsinh(mean) / np.arcsinh(60), 0, 1)


if __name__ == "__main__":
    import tempfile

    sys.path.insert(0, str(Path(__file__).parents[2] / "workflow" / "scripts"))
    with tempfile.TemporaryDirectory() as folder:
        made = make_real_stamps(Path(sys.argv[1]), Path(folder))
        draw(made, Path(sys.argv[2]), scored_by_a_mock_network(made, Path(folder)))
