"""Matrix: the weights of a dense layer as composing wants them, and products whose rows keep their bits.

Conventions
-----------
Composing multiplies few rows by large matrices, thousands of times. Weights lie inside by outside, which
torch's kernels take as they are, and in bfloat16 where the hardware multiplies it.

Torch chooses a kernel, and with it the order of a sum, by the number of rows. A row must come out alike in
any company, so each shape of matrix is tried once on this machine: whole, with its inner sum cut into parts
that are short enough, or in blocks of a fixed number of rows. The first way that gives every row the same
bits at any number of rows is taken.

Letters: **R** rows, **K** inside, **O** outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

ROUND, MANY = 16, 256
"""Rows are padded to a multiple of the first, and at most as many as the second are multiplied at once: torch
makes a kernel for each number of rows, and keeps it."""


class Way(NamedTuple):
    """How a product is cut."""

    parts: int
    """Of the inner sum."""
    block: int
    """Rows that are multiplied at once."""


WAYS = (Way(1, MANY), Way(2, MANY), Way(4, MANY), Way(1, ROUND))
"""From the fastest; the last one always holds, because it knows one number of rows only."""
TRIED = tuple(range(ROUND, MANY + 1, ROUND))
"""Numbers of rows."""


@dataclass(frozen=True, eq=False)
class Matrix:
    """A dense layer: [..., K] float32 to [..., O] float32."""

    parts: tuple[Tensor, ...]
    """[K / parts, O] each."""
    bias: Tensor | None
    """[O] in the precision of the parts."""
    way: Way

    def __call__(self, x: Tensor) -> Tensor:
        """Every row times the weights, plus the bias."""
        found = self.sums(x.reshape(-1, x.shape[-1])).float()
        return found.view(*x.shape[:-1], -1)

    def sums(self, rows: Tensor, onto: Tensor | None = None) -> Tensor:
        """[R, O] in the weights' precision: rows [R, K] times the weights, plus the bias or instead ``onto``.

        ``onto`` may be overwritten, and comes with ``rounded`` rows.
        """
        rows = rows.to(self.parts[0].dtype)
        if onto is not None:
            return _product(rows, self.parts, onto, self.way)
        missing = rounded(len(rows)) - len(rows)
        padded = functional.pad(rows, (0, 0, 0, missing)) if missing else rows
        return _product(padded, self.parts, self.bias, self.way)[: len(rows)]


def rounded(rows: int) -> int:
    """As many rows as are multiplied for so many."""
    return -(-rows // ROUND) * ROUND


def matrix_of(weight: Tensor, bias: Tensor | None = None, *, exact: bool = False) -> Matrix:
    """The matrix of a layer's weight [O, K] and bias [O]; ``exact`` keeps float32 whatever the hardware."""
    quick = multiplies_bfloat16(weight.device) and not exact
    precision = torch.bfloat16 if quick else torch.float32
    laid_out = weight.detach().t().to(precision).contiguous()
    way = WAYS[0] if weight.is_cuda else _way(*laid_out.shape, precision, torch.get_num_threads())
    parts = tuple(part.contiguous() for part in laid_out.chunk(way.parts))
    return Matrix(parts, None if bias is None else bias.detach().to(precision), way)


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether products of bfloat16 are fast there."""
    return device.type == "cuda" or torch.cpu._is_amx_tile_supported()


def _product(rows: Tensor, parts: tuple[Tensor, ...], start: Tensor | None, way: Way) -> Tensor:
    """[R, K] rows in the precision of the parts to [R, O], from a bias [O] or sums [R, O] on."""
    blocks = torch.split(rows, way.block)
    whole = start is None or start.ndim == 1
    starts = [start] * len(blocks) if whole else torch.split(start, way.block)  # type: ignore[arg-type]
    found = [_sum(block, parts, one) for block, one in zip(blocks, starts, strict=True)]
    return found[0] if len(found) == 1 else torch.cat(found)


def _sum(rows: Tensor, parts: tuple[Tensor, ...], start: Tensor | None) -> Tensor:
    pieces = (rows,) if len(parts) == 1 else rows.chunk(len(parts), dim=1)
    if start is None:
        total = torch.mm(pieces[0], parts[0])
    elif start.ndim == 1:
        total = torch.addmm(start, pieces[0], parts[0])
    else:
        total = start.addmm_(pieces[0], parts[0])
    for some, part in zip(pieces[1:], parts[1:], strict=True):
        total.addmm_(some, part)
    return total


@cache
def _way(inside: int, outside: int, precision: torch.dtype, _threads: int) -> Way:
    """The first way in which a row has the same bits in any company, for this shape on this machine."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(max(TRIED), inside, generator=generator).to(precision)
    weights = torch.randn(inside, outside, generator=generator).to(precision)
    for way in WAYS[:-1]:
        if inside % way.parts == 0 and _holds(rows, tuple(weights.chunk(way.parts)), way):
            return way
    return WAYS[-1]


def _holds(rows: Tensor, parts: tuple[Tensor, ...], way: Way) -> bool:
    """With and without a bias."""
    return all(
        torch.equal(_product(rows[:count], parts, start, way), together[:count])
        for start in (None, parts[0][0])
        for together in [_product(rows, parts, start, way)]
        for count in TRIED
    )
