"""What pixels see of values at rays, of a batch of stamps: compiled loops on a processor, sparse matrices of torch elsewhere."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from . import loops


class Operator(Protocol):
    """B of each of b stamps, (n, r), padded; values are float32."""

    def of(self, rows: Sequence[int]) -> Operator:
        """Return the operator of some of the stamps, in any order and any number of times."""

    def observe(self, values: Tensor) -> Tensor:
        """Return B · values, (b, r, k) to (b, n, k)."""

    def project(self, values: Tensor) -> Tensor:
        """Return Bᵀ · values, (b, n, k) to (b, r, k)."""

    def between_pixels(self, symmetric: Tensor) -> Tensor:
        """Return B · symmetric · Bᵀ, (b, r, r) to (b, n, n)."""

    def between_rays(self, symmetric: Tensor) -> Tensor:
        """Return Bᵀ · symmetric · B, (b, n, n) to (b, r, r)."""


def operator(matrices: Sequence[sp.csr_matrix], n: int, r: int, device: torch.device | str) -> Operator:
    """Return the operator of some stamps, padded to n pixels and r rays."""
    if torch.device(device).type == "cpu":
        return Compiled(tuple(_compressed(m, n, r) for m in matrices), n, r)
    return Sparse.made(matrices, n, r, device)


@dataclass(frozen=True)
class Compiled:
    """Loops over each stamp's matrix and its transpose, in compressed rows."""

    rows: tuple[tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]], ...]
    n: int
    r: int

    def of(self, rows: Sequence[int]) -> Compiled:
        """As `Operator` says."""
        return Compiled(tuple(self.rows[row] for row in rows), self.n, self.r)

    def observe(self, values: Tensor) -> Tensor:
        """As `Operator` says."""
        return self._product(values, 0, self.n)

    def project(self, values: Tensor) -> Tensor:
        """As `Operator` says."""
        return self._product(values, 1, self.r)

    def between_pixels(self, symmetric: Tensor) -> Tensor:
        """As `Operator` says."""
        return self._sandwich(symmetric, 0, self.n, self.r)

    def between_rays(self, symmetric: Tensor) -> Tensor:
        """As `Operator` says."""
        return self._sandwich(symmetric, 1, self.r, self.n)

    def _product(self, values: Tensor, side: int, length: int) -> Tensor:
        out = torch.empty(len(self.rows), length, values.shape[2])
        for one, seen, into in zip(self.rows, values.contiguous().numpy(), out.numpy(), strict=True):
            loops.product(*one[side], seen, into)
        return out

    def _sandwich(self, symmetric: Tensor, side: int, length: int, other: int) -> Tensor:
        out, half = torch.empty(len(self.rows), length, length), np.empty((other, length), np.float32)
        for one, values, into in zip(self.rows, symmetric.numpy(), out.numpy(), strict=True):
            loops.sandwich(*one[side], values, half, into)
        return out


@dataclass(frozen=True)
class Sparse:
    """All stamps on the diagonal of one sparse matrix, and its transpose."""

    matrices: tuple[sp.csr_matrix, ...]
    matrix: Tensor
    transpose: Tensor
    n: int
    r: int

    @classmethod
    def made(cls, matrices: Sequence[sp.csr_matrix], n: int, r: int, device: torch.device | str) -> Sparse:
        """Return the operator of some stamps' matrices, padded."""
        whole = sp.block_diag([_resized(m, n, r) for m in matrices], format="csr").astype(np.float32)
        return cls(tuple(matrices), _tensor(whole, device), _tensor(whole.T.tocsr(), device), n, r)

    def of(self, rows: Sequence[int]) -> Sparse:
        """As `Operator` says."""
        return self.made([self.matrices[row] for row in rows], self.n, self.r, self.matrix.device)

    def observe(self, values: Tensor) -> Tensor:
        """As `Operator` says."""
        return _product(self.matrix, values, self.n)

    def project(self, values: Tensor) -> Tensor:
        """As `Operator` says."""
        return _product(self.transpose, values, self.r)

    def between_pixels(self, symmetric: Tensor) -> Tensor:
        """As `Operator` says."""
        return self.observe(self.observe(symmetric).mT.contiguous())

    def between_rays(self, symmetric: Tensor) -> Tensor:
        """As `Operator` says."""
        return self.project(self.project(symmetric).mT.contiguous())


def _resized(matrix: sp.csr_matrix, n: int, r: int) -> sp.csr_matrix:
    out = matrix.tocsr().astype(np.float32)
    out.resize(n, r)
    return out


def _compressed(matrix: sp.csr_matrix, n: int, r: int) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    padded = _resized(matrix, n, r)
    return tuple((m.indptr.astype(np.int32), m.indices.astype(np.int32), m.data) for m in (padded, padded.T.tocsr()))


def _tensor(matrix: sp.csr_matrix, device: torch.device | str) -> Tensor:
    parts = (torch.as_tensor(a) for a in (matrix.indptr, matrix.indices, matrix.data))
    with warnings.catch_warnings():
        # Said once per process by every use of them; products with dense matrices, all that is used here, are tested.
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(*parts, size=matrix.shape, device=device, check_invariants=True)


def _product(matrix: Tensor, values: Tensor, rows: int) -> Tensor:
    return (matrix @ values.reshape(-1, values.shape[-1])).reshape(values.shape[0], rows, values.shape[-1])
