"""Draw the README's figure from the pictures of the demo's reports: `make demo`, then `.venv/bin/python docs/figures/draw.py`.

What the two chains look for, one above the other: a lens without and with a subhalo, the difference, and the gas velocity; galaxies
with an injected lensed source above the controls that the network takes for lenses most. With a number of colours that keeps it small.
"""

import sys
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
WIDTH, COLOURS, LARGEST_BYTES = 860, 72, 150_000


def draw(root: Path, target: Path) -> None:
    """Write the pictures of the first screens of two reports as one PNG."""
    paths = [root / "experiments" / name / "report/figures/overview.png" for name in ("subhalo", "lens-finder")]
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise SystemExit(
            f"{', '.join(missing)}: expected the pictures of the demo's reports; run `make demo` first, or name the folder of its results"
        )
    pictures = [Image.open(path).convert("RGB") for path in paths]
    pictures = [p.resize((WIDTH, round(p.height * WIDTH / p.width)), Image.Resampling.LANCZOS) for p in pictures]
    sheet = Image.new("RGB", (WIDTH, sum(p.height for p in pictures)), "white")
    top = 0
    for picture in pictures:
        sheet.paste(picture, (0, top))
        top += picture.height
    sheet.quantize(COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)
    if target.stat().st_size > LARGEST_BYTES:
        raise SystemExit(f"{target} has {target.stat().st_size:,} bytes; it should have {LARGEST_BYTES:,} at most: lower COLOURS or WIDTH")


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parents[1] / "results" / "demo", HERE / "overview.png")
