"""What a kind of source gives, and what its parameters are drawn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from ..config.cosmology import Cosmology
from ..core.random import uniforms
from .source import Disk, Source, SourceError, Supply
from .still import StillImage

Columns = Mapping[str, NDArray]
#: Inputs of a rule by name, each a list of paths: `cosmos`, `catalog`, `bank`.
Files = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Draws:
    """What the parameters of n rows are drawn from.

    Attributes
    ----------
    u : (n,) uniform numbers by slot, those that the task draws for all rows
    numbers : (n,) that identify the rows
    seed : of the dataset
    sources : section `sources` of the dataset
    z_source : (n,) or None for a task without redshifts
    cosmology : Cosmology
    galaxy : (n,) columns of the bank, of the galaxy that each row would have; empty where no kind needs one
    """

    u: Columns
    numbers: NDArray
    seed: int
    sources: Any
    z_source: NDArray | None = None
    cosmology: Cosmology | None = None
    galaxy: Columns = None

    def own(self, kind: str, count: int) -> NDArray:
        """Return `count` uniform numbers per row, (n, count), from a stream of the kind's own: for kinds that the task has no slots for."""
        return uniforms(self.seed, self.numbers, f"source {kind}", count)


class Maps(Protocol):
    """Images of the sources of some rows, as moment planes: a source that is not in closed form.

    `planes` is (m, 3, h, w) float, F, F·v and F·(v² + σ²) of m different images in any unit of flux (see `source.moment_planes`).
    """

    planes: NDArray

    def place(self, columns: Columns) -> tuple[NDArray, NDArray, NDArray]:
        """Return which image each row has (n,), its pixel [arcsec] (n,), and where its middle lies from the source's place [arcsec] (n, 2)."""
        ...

    def resolution_arcsec(self, columns: Columns) -> NDArray:
        """Return the FWHM of the images' own blur (n,)."""
        ...


@dataclass(frozen=True)
class Moving:
    """A kind of source with velocities, for the subhalo task. It is a disk in closed form, or maps.

    Attributes
    ----------
    draw : from n rows' draws to its columns; of the shared ones it may set `src_phi_rad`, `src_flip` and `src_scale`
    disk : the disk of one row, by its number in the columns and the dataset's seed
    most_knots : of a disk that these sources can draw
    maps : the images of some rows; their turn and reflection are the row's
    source : one row's source before it is placed, as images, for pictures; left out, that of `disk`, or the image of `maps`
    positive : columns of the bank that must be above 0 in every galaxy of such sources
    """

    draw: Callable[[Draws], Mapping[str, NDArray]]
    disk: Callable[[Columns, int, int], Disk] | None = None
    most_knots: Callable[[Any], float] = lambda sources: 0
    maps: Callable[[Supply, Columns], Maps] | None = None
    source: Callable[[Supply, Columns, int], Source] | None = None
    positive: tuple[str, ...] = ()


@dataclass(frozen=True)
class Still:
    """A kind of source without velocities, for the lens finder.

    Attributes
    ----------
    image : from the files given to a rule to what makes a row's image
    galaxies : from these files to the galaxies it may use and their half-light radii [arcsec], None where these are drawn
    draw : from n rows' draws to columns of its own
    properties : columns of the shared priors that it has: those of others are null
    symmetric : whether half a turn covers all directions and a reflection changes nothing
    """

    image: Callable[[Files], Callable[[Mapping[str, Any]], StillImage]]
    galaxies: Callable[[Files], tuple[list[str], NDArray | None]] | None = None
    draw: Callable[[Draws], Mapping[str, NDArray]] | None = None
    properties: tuple[str, ...] = ()
    symmetric: bool = False


class Registered(dict):
    """Kinds of sources by name; one that the config names and nothing registers is said in words."""

    def __missing__(self, name: str) -> Any:
        raise SourceError(f"source kind `{name}` has an entry in config.sources and no line in `KINDS` of sources.moving or sources.stills")
