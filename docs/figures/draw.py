"""Make the README's figure from the demo's report: `make demo`, then `.venv/bin/python docs/figures/draw.py`.

A lens without and with its subhalo, the difference, and the velocity of the gas, in as many colours as keep the file small.
"""

import sys
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
WIDTH, COLOURS, LARGEST_BYTES = 1200, 200, 150_000


def draw(root: Path, target: Path) -> None:
    """Write the picture of the first screen of the report on subhalos, smaller."""
    path = root / "experiments/subhalo/report/figures/overview.png"
    if not path.exists():
        raise SystemExit(f"{path}: expected the picture of the demo's report; run `make demo` first, or name the folder of its results")
    picture = Image.open(path).convert("RGB")
    picture = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)
    if target.stat().st_size > LARGEST_BYTES:
        raise SystemExit(f"{target} has {target.stat().st_size:,} bytes; it should have {LARGEST_BYTES:,} at most: lower COLOURS or WIDTH")


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parents[1] / "results" / "demo", HERE / "overview.png")
