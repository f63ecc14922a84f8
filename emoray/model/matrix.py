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


class Way(NamedTuple):
    """How a product is cut."""

    parts: int
    """Of the inner sum."""
    least: int
    """Rows are padded to as many."""
    most: int
    """Rows that are multiplied at once; 0 is any number."""


WAYS = (Way(1, 1, 0), Way(2, 1, 0), Way(4, 1, 0), Way(1, 16, 0), Way(1, 16, 16))
"""From the fastest; the last one always holds, because it knows one number of rows only."""
TRIED = (1, 2, 3, 5, 8, 16, 17, 32, 33, 48, 64, 100, 128, 200, 256)
"""Numbers of rows."""


@dataclass(frozen=True, eq=False)
class Matrix:
    """A dense layer: [..., K] float32 to [..., O] float32."""

    parts: tuple[Tensor, ...]
    """[K / parts, O] each."""
    bias: Tensor | None
    """[O] float32."""
    way: Way

    def __call__(self, x: Tensor) -> Tensor:
        """Every row times the weights, plus the bias."""
        sums = self.onto(None, x.reshape(-1, x.shape[-1]))
        whole = sums.float() if self.bias is None else sums + self.bias
        return whole.view(*x.shape[:-1], -1)

    def onto(self, sums: Tensor | None, rows: Tensor) -> Tensor:
        """[R, O] products of rows [R, K], without the bias and in the weights' precision, plus ``sums``."""
        return _product(sums, rows.to(self.parts[0].dtype), self.parts, self.way)


def matrix_of(weight: Tensor, bias: Tensor | None = None, *, exact: bool = False) -> Matrix:
    """The matrix of a layer's weight [O, K] and bias [O]; ``exact`` keeps float32 whatever the hardware."""
    quick = multiplies_bfloat16(weight.device) and not exact
    precision = torch.bfloat16 if quick else torch.float32
    laid_out = weight.detach().t().to(precision).contiguous()
    way = Way(1, 1, 0) if weight.is_cuda else _way(*laid_out.shape, precision, torch.get_num_threads())
    parts = tuple(part.contiguous() for part in laid_out.chunk(way.parts))
    return Matrix(parts, None if bias is None else bias.detach().float(), way)


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether products of bfloat16 are fast there."""
    return device.type == "cuda" or torch.cpu._is_amx_tile_supported()


def _product(sums: Tensor | None, rows: Tensor, parts: tuple[Tensor, ...], way: Way) -> Tensor:
    """[R, K] rows in the precision of the parts to [R, O], added to ``sums`` (which it may overwrite)."""
    if way.least == 1:
        return _sum(sums, rows, parts)
    count = len(rows)
    missing = -count % way.most if way.most else max(0, way.least - count)
    rows = functional.pad(rows, (0, 0, 0, missing))
    blocks = rows.split(way.most or len(rows))  # type: ignore[no-untyped-call]
    found = torch.cat([_sum(None, block, parts) for block in blocks])[:count]
    return found if sums is None else sums + found


def _sum(sums: Tensor | None, rows: Tensor, parts: tuple[Tensor, ...]) -> Tensor:
    pieces = (rows,) if len(parts) == 1 else rows.chunk(len(parts), dim=1)
    for some, part in zip(pieces, parts, strict=True):
        sums = torch.mm(some, part) if sums is None else sums.addmm_(some, part)
    assert sums is not None
    return sums


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
    together = _product(None, rows, parts, way)
    return all(torch.equal(_product(None, rows[:count], parts, way), together[:count]) for count in TRIED)
