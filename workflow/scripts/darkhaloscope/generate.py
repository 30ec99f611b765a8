"""Write what models and schemas say into files: the config's JSON schema, tables of its keys and of columns, names of timm's architectures.

`python -m darkhaloscope.generate` from workflow/scripts; a test fails where a file has drifted.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from .config.base import Distribution
from .config.detectors import DETECTOR_KINDS, AnyDetector
from .config.kinds import DATASET_KINDS, Dataset
from .config.lensfinder import ImportedDataset
from .config.network import TIMM_NAMES
from .config.presets import preset
from .config.run import Run
from .config.subhalo import SubhaloDataset
from .core.files import write_text
from .core.tables import Schema
from .detectors.evidence.schema import FINDINGS, map_columns, sensitivity_schema
from .detectors.observed.schema import TRIALS, lens_schema
from .detectors.schema import SCORE, maps_schema
from .ifu.bank import BANK
from .learning.mining import MINED
from .sources.cosmos import COSMOS_SOURCES
from .stamps.seen import Seen, seen_schema
from .surveys.legacysurvey.schema import KNOWN_LENSES, PARENT
from .surveys.prepared import prepared_schema
from .surveys.real_sky import real_sky_schema
from .tasks.lensfinder import schema as lensfinder
from .tasks.lensfinder import seen as lensfinder_seen
from .tasks.lensfinder.host_cutouts import host_schema
from .tasks.lensfinder.known_lenses import known_stamp_schema
from .tasks.lensfinder.search import search_schema
from .tasks.subhalo import seen as subhalo_seen
from .tasks.subhalo.schema import MANIFEST, PLACE, pair_images, stamp_schema

ROOT = Path(__file__).parents[3]

#: Sections of several kinds, whose keys are listed kind by kind.
UNIONS = ((Dataset, DATASET_KINDS), (AnyDetector, DETECTOR_KINDS))

README = """\
# Configuration

`config.yaml` is the full survey run: the keys that people change, each at its default. A run of your own is a small
file laid over it, or a few keys on the command line:

```
snakemake --cores 8 --configfile mine.yaml
snakemake --cores 8 --config root=~/runs/other datasets.subhalo.seed=3 datasets.subhalo.size.test=5000
make config                              # every key with its default
make config CONFIG=mine.yaml TO=all.yaml # every key of a run, into a file
```

| file | what it is |
|---|---|
| `config.yaml` | the full survey run, short |
| `presets/` | the datasets, detectors and experiments that every run has; an overlay changes single keys of them |
| `demo.yaml` | both chains in minutes, on a mock archive and a mock sky: `make demo` |
| `demo-full.yaml` | the same with networks, controls and rounds that take longer: `make demo-full` |
| `real-sample.yaml` | one real galaxy in the DR15 layout, scored with the long demo's networks |
| `subhalo-reference.yaml` | the reference run whose figures are in `docs/results.md` |
| `evidence-reference.yaml` | the model-based detector on its stamps (`docs/evidence.md`) |
| `evidence-real.yaml` | the same detector on stamps of one real galaxy (`docs/evidence.md`) |
| `evidence-networks.yaml` | networks on that detector's maps (`docs/training.md`) |
| `slacs.yaml` | 63 observed lenses through the model-based detector (`docs/real-lenses.md`) |
| `lensfinder-reference.yaml` | the reference run of the lens finder: three networks and 10⁵ test controls |

An overlay may begin with `extends: config/other.yaml` (a path from the project's root): it is then laid
over that file. Files are YAML as it is meant: a key twice is an error, `3e-2` is a number, and `yes`, `no`,
`on` and `off` are text where text is meant. In paths, `~` and `$VARIABLES` are replaced. Mappings merge key by key; lists, distributions, and the mappings `mix`, `profiles`,
`fractions`, `assigned` and `grid` are replaced whole, and so is each stratum of `strata`. Unknown keys are refused with the nearest
known name.

A **distribution** is a number or one of `{uniform: [low, high]}`, `{log_uniform: [low, high]}`,
`{normal: [mean, sd, low, high]}`, `{choice: [a, b, …]}`.

A **sweep** repeats an experiment over a grid of dotted keys:

```yaml
run: [noise-and-strength]
sweeps:
  noise-and-strength:
    experiment: subhalo
    grid:
      dataset.instrument.noise.peak_snr: [10, 30]
      dataset.subhalo.theta_e_factor: [0.03, 0.1]
```

It ends in `results/sweeps/noise-and-strength/results.csv`; what a point does not change is not computed
again.

**Robustness** names variants of an experiment's dataset by dotted keys. Each is the dataset's test stamps with
these keys changed, drawn as before, and scored by the detectors as they are; nothing is trained:

```yaml
experiments:
  subhalo:
    robustness:
      psf: {instrument.psf.fwhm_arcsec: 0.18}
      disks: {sources.mix: {disk: 1.0}}
      same-flux: {contrast: kinematics}
      few: {size.test: 2000, lens.multipole_m3: 0, lens.multipole_m4: 0}
```

Its table is `results/experiments/subhalo/evaluation/robustness.csv`. Seed, splits, sample and stamp size stay the
dataset's. Test datasets of their own, with other galaxies for example, are named in `tests`.

## What every run has

A config that says nothing has these (`presets/`); it may change single keys of them, and name others beside them. Their galaxies are of sample `dr17`, their sky is of survey `dr10`, unless the
config says otherwise: `datasets: {subhalo-hard: {sources: {sample: mock}}}` in the demo.

PRESETS
## Every key

Generated from the models by `make generate`. ‹name› stands for a name of your choice.

"""


def json_schema() -> str:
    """Return the JSON schema of the merged config."""
    schema = Run.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["properties"]["extends"] = {"type": "string", "description": "Config file that this one is laid over, from the project's root"}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def readme() -> str:
    """Return config/README.md with its table of keys."""
    lines = ["| key | type | default | what it is |", "|---|---|---|---|"]
    lines += [f"| `{key}` | {kind} | {default} | {text} |" for key, kind, default, text in _rows(Run, "")]
    return README.replace("PRESETS\n", _presets()) + "\n".join(lines) + "\n"


def _presets() -> str:
    lines = ["| section | name | what it is |", "|---|---|---|"]
    for section in ("datasets", "detectors", "experiments"):
        lines += [
            f"| `{section}` | `{name}` | {values.get('description') or values['question']} |" for name, values in preset(section).items()
        ]
    return "\n".join(lines) + "\n\n"


TABLES = """\
# Tables

Tables that pass from stage to stage are Parquet with the columns below, in this order; images are Arrow fixed-shape tensors. Unit and
description of a column are also in the file's own metadata. CSV tables, and what is made for pages, are in [data-contracts.md](data-contracts.md). Generated from the schemas by `make generate`.

"""


def tables() -> str:
    """Return docs/tables.md: every column of every table."""
    bank, stamp = BANK(64) if callable(BANK) else BANK, stamp_schema(48)
    titles = {
        "Source bank, `manga/{sample}/bank.parquet`": bank,
        "Parent sample, `legacysurvey/{survey}/parent.parquet`": PARENT,
        "Known lenses, `legacysurvey/{survey}/known_lenses.parquet`": KNOWN_LENSES,
        "Prepared cutouts, `cutouts/{name}/stamps.parquet`": prepared_schema(64),
        "The parent sample as it is, `datasets/{dataset}/parents/{piece}.parquet`, until it is scored": search_schema(64),
        "Manifest, `datasets/{dataset}/manifest.parquet`": MANIFEST,
        "Stamps, `datasets/{dataset}/stamps/{split}/{shard}.parquet`": Schema("stamps", stamp.columns[len(MANIFEST.columns) :]),
        "What is seen of them, `datasets/{dataset}/seen/{split}/{shard}.parquet`": _beside_scalars(subhalo_seen.SEEN, SubhaloDataset()),
        "Noiseless pairs, `datasets/{dataset}/pairs/{shard}.parquet`, beside the columns of the manifest": Schema(
            "pairs", (*PLACE, *pair_images(48))
        ),
        "Manifest of a lens-finder dataset": lensfinder.MANIFEST,
        "Stamps of a lens-finder dataset": Schema(
            "injected stamps", lensfinder.stamp_schema(64).columns[len(lensfinder.MANIFEST.columns) :]
        ),
        "What is seen of lens-finder stamps and of imported ones": _beside_scalars(
            lensfinder_seen.SEEN, ImportedDataset(table="any", gates={"core_pixels": 1})
        ),
        "Hosts without arcs, `datasets/{dataset}/hosts/arcs_removed.parquet` and `bare.parquet`": lensfinder.without_arc_schema(64),
        "Known lenses as stamps, `datasets/{dataset}/known_lenses.parquet`": known_stamp_schema(64),
        "Real galaxies with labels, `datasets/{dataset}/real_sky.parquet`": real_sky_schema(64),
        "Cutouts that are hosts, `datasets/{dataset}/host_cutouts.parquet`; `host_galaxies.parquet` has the columns of a parent sample": host_schema(
            64
        ),
        "Galaxies of COSMOS, `datasets/{dataset}/cosmos_sources.parquet`": COSMOS_SOURCES,
        "Mined controls, `detectors/{dataset}/{detector}/seed-{seed}/mined.parquet`": MINED,
        "Scores, `detectors/{dataset}/{detector}/seed-{seed}/scores/{test}.parquet`": Schema("scores", SCORE),
        "Findings of the model-based detector, `findings/{dataset}/{test}/{split}/{shard}.parquet`": FINDINGS,
        "Its maps, beside the findings and in `evidence_stamps/{dataset}/{test}/{split}/{shard}.parquet`": Schema("maps", map_columns(48)),
        "Its sensitivity, `findings/{dataset}/{test}/sensitivity.parquet`": sensitivity_schema(48),
        "Observed lenses, `observed/{name}/lenses.parquet`": lens_schema(121),
        "Their trials, `observed/{name}/trials.parquet`": TRIALS,
        "Attributions, `experiments/{experiment}/explanations/maps.parquet`": maps_schema(48),
    }
    before = {
        "stamps": "All columns of the manifest, then:",
        "injected stamps": "All columns of its manifest, then:",
        "seen stamps": "All columns of the stamps that are not images, in single precision but for `ra` and `dec`, `stamp_id` and `task_id` as hashes (uint64); then:",
        "scores": "The columns below, then all columns of the stamps that are not images:",
    }
    parts = []
    for title, schema in titles.items():
        lines = [
            f"## {title}",
            "",
            *([before[schema.name], ""] if schema.name in before else []),
            "| column | type | unit | what it is |",
            "|---|---|---|---|",
        ]
        for c in schema.columns:
            kind = c.dtype + (f" {' × '.join(map(str, c.shape))}" if c.shape else "") + (" or null" if c.nullable else "")
            lines.append(f"| `{c.name}` | {kind} | {_cell(c.unit)} | {_cell(c.description)} |")
        parts.append("\n".join(lines) + "\n")
    return TABLES + "\n".join(parts)


def _beside_scalars(seen: Seen, dataset: Any) -> Schema:
    schema = seen_schema(seen, dataset)
    return Schema(schema.name, schema.columns[len(seen.scalars) :])


def architectures() -> str:
    """Return the names of the timm library's architectures, one a line."""
    import timm  # takes seconds

    return "\n".join(timm.list_models()) + "\n"


def files() -> dict[Path, str]:
    """Return every generated file and its text."""
    return {
        ROOT / "workflow" / "schemas" / "config.schema.json": json_schema(),
        ROOT / "config" / "README.md": readme(),
        ROOT / "docs" / "tables.md": tables(),
        TIMM_NAMES: architectures(),
    }


def _rows(model: type[BaseModel], prefix: str):
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        annotation = _bare(field.annotation)
        kinds = next((kinds for union, kinds in UNIONS if get_origin(annotation) is dict and get_args(annotation)[1] == union), None)
        if kinds:
            for kind, section in kinds.items():
                yield f"{key}.‹{kind}›", "section", "", _cell(section.__doc__ or "")
                yield from _rows(section, f"{key}.‹{kind}›.")
        elif get_origin(annotation) is dict and _section(get_args(annotation)[1]):
            yield f"{key}.‹name›", "section", "", _cell(field.description or "")
            yield from _rows(_section(get_args(annotation)[1]), f"{key}.‹name›.")
        elif _section(annotation):
            yield key, "section", "", _cell(field.description or "")
            yield from _rows(_section(annotation), f"{key}.")
        else:
            yield key, _cell(_kind(annotation)), _cell(_default(field)), _cell((field.description or "") + _bounds(field))


def _section(annotation: Any) -> type[BaseModel] | None:
    annotation = _bare(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation is not Distribution:
        return annotation
    return None


def _bare(annotation: Any) -> Any:
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        kinds = [a for a in get_args(annotation) if a is not NoneType]
        return _bare(kinds[0]) if len(kinds) == 1 else annotation
    return annotation


def _kind(annotation: Any) -> str:
    annotation = _bare(annotation)
    origin = get_origin(annotation)
    if annotation is Distribution:
        return "distribution"
    if origin is Literal:
        return " or ".join(f"`{v}`" for v in get_args(annotation))
    if origin is tuple:
        inner = [a for a in get_args(annotation) if a is not Ellipsis]
        return f"list of {_kind(inner[0])}" if Ellipsis in get_args(annotation) else f"{len(inner)} × {_kind(inner[0])}"
    if origin is dict:
        return f"{_kind(get_args(annotation)[0])} → {_kind(get_args(annotation)[1])}"
    if origin in (Union, UnionType):
        return " or ".join(_kind(a) for a in get_args(annotation) if a is not NoneType)
    return {str: "text", int: "integer", float: "number", bool: "true or false"}.get(
        annotation, getattr(annotation, "__name__", str(annotation))
    )


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Distribution):
        plain = value.plain()
        value = plain.get("fixed", plain)
    elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        value = [list(v.plain().values()) for v in value]
    elif isinstance(value, tuple):
        value = list(value)
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _bounds(field: FieldInfo) -> str:
    marks = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = [f"{mark} {getattr(m, name):g}" for m in field.metadata for name, mark in marks.items() if getattr(m, name, None) is not None]
    return f" ({', '.join(found)})" if found else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    for path, text in files().items():
        write_text(path, text)
        print(path.relative_to(ROOT))
