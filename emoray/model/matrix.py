"""Matrix: the weights of a dense layer as composing wants them, and products whose rows keep their bits.

Conventions
-----------
Composing multiplies few rows by large matrices, thousands of times, and mostly waits for the weights to come
from memory. They are laid out once for the kernel that multiplies them, in 16 bits each: bfloat16 where the
hardware multiplies it, else float16 that is multiplied as float32. A checkpoint's weights are float16 as
they are; ``docs/speed.md`` says what bfloat16 costs.

A library chooses its kernel, and with it the order of a sum, by the number of rows: the same row may come out
with other bits in a larger batch. A row must have the same bits in any batch, so each shape of matrix is
probed once at load, on the device and with the number of threads that it will be used with: by each kernel,
whole, or with its inner sum cut into parts that are short enough, or in blocks of a fixed number of rows. The
first way that gives every row the same bits at any number of rows is taken. On CUDA the same is done with the
one kernel that is there.

Letters: **R** rows, **K** inside, **O** outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

FEW = 4
"""Fewer rows than a way's ``rows`` are padded to a multiple of these, more to a multiple of ``rows``: a
kernel is made for each number of rows, and kept."""

Kernel = Literal["half", "packed", "plain"]
"""Torch's products by FBGEMM (float16 weights), by oneDNN (weights laid out once), and for any tensors."""


class Way(NamedTuple):
    """How a product is cut, and who does it."""

    kernel: Kernel
    parts: int
    """Into how many parts the inner sum is cut."""
    rows: int
    """The rows that are multiplied at once are a multiple of this number, ..."""
    most: int
    """... and at most this number."""

    def rounded(self, rows: int) -> int:
        """How many rows are multiplied where ``rows`` are asked for."""
        least = self.rows if rows > self.rows or self.rows == self.most else FEW
        return min(-(-rows // least) * least, -(-rows // self.rows) * self.rows)

    @property
    def numbers(self) -> list[int]:
        """All numbers of rows that are ever multiplied at once."""
        return sorted({self.rounded(rows) for rows in range(1, self.most + 1)})


class Shape(NamedTuple):
    """What a way is probed for."""

    inside: int
    outside: int
    precision: torch.dtype
    exact: bool
    """Whether the weights must stay float32."""


HALF = Way("half", 1, 12, 132)
PACKED = tuple(Way("packed", parts, 16, 256) for parts in (1, 2, 4))
PLAIN = tuple(Way("plain", parts, 16, 256) for parts in (1, 2, 4))
WAYS = (HALF, *PACKED, *PLAIN, Way("plain", 1, 16, 16))
"""From the fastest on; the last one always holds, because it multiplies one number of rows only."""


@dataclass(frozen=True, eq=False)
class Matrix:
    """A dense layer: [..., K] float32 to [..., O] float32."""

    parts: tuple[Any, ...]
    """[K / parts, O] each, as the way's kernel lays them out; with the bias, if it takes one."""
    bias: Tensor | None
    """[O] in ``precision``."""
    precision: torch.dtype
    """Type of the rows that are multiplied."""
    way: Way

    def __call__(self, x: Tensor) -> Tensor:
        """Every row times the weights, plus the bias."""
        rows = x.reshape(-1, x.shape[-1]).to(self.precision)
        missing = self.way.rounded(len(rows)) - len(rows)
        padded = functional.pad(rows, (0, 0, 0, missing)) if missing else rows
        found = _product(padded, self)[: len(rows)].float()
        return found.view(*x.shape[:-1], -1)


def matrix_of(weight: Tensor, bias: Tensor | None = None, *, exact: bool = False) -> Matrix:
    """The matrix of a layer's weight [O, K] and bias [O]; ``exact`` keeps float32 whatever the hardware."""
    quick = multiplies_bfloat16(weight.device) and not exact
    precision = torch.bfloat16 if quick else torch.float32
    outside, inside = weight.shape
    shape = Shape(inside, outside, precision, exact)
    return _laid_out(weight, bias, precision, _way(shape, weight.device, torch.get_num_threads()))


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether products of bfloat16 are fast there."""
    return device.type == "cuda" or torch.cpu._is_amx_tile_supported()


def _laid_out(weight: Tensor, bias: Tensor | None, precision: torch.dtype, way: Way) -> Matrix:
    """A layer's weight [O, K] and bias [O] as the way's kernel takes them."""
    weight = weight.detach().to(precision)
    bias = None if bias is None else bias.detach().to(precision)
    cut = [part.contiguous() for part in weight.chunk(way.parts, dim=1)]
    if way.kernel == "half":
        parts = [torch.ops.quantized.linear_prepack_fp16(part, bias) for part in cut]
    elif way.kernel == "packed":
        parts = [torch.ops.mkldnn._reorder_linear_weight(part, way.rows) for part in cut]
    else:
        parts = [part.t().contiguous() for part in cut]
    return Matrix(tuple(parts), bias, precision, way)


def _product(rows: Tensor, matrix: Matrix) -> Tensor:
    """[R, K] rows in the matrix's precision to [R, O]."""
    if len(rows) <= matrix.way.most:
        return _sum(rows, matrix)
    return torch.cat([_sum(block, matrix) for block in torch.split(rows, matrix.way.most)])


def _sum(rows: Tensor, matrix: Matrix) -> Tensor:
    """One block of rows."""
    first, *rest = matrix.parts
    kernel = _KERNELS[matrix.way.kernel]
    if not rest:
        return kernel(rows, first, matrix.bias)
    pieces = rows.chunk(len(matrix.parts), dim=1)
    total = kernel(pieces[0], first, matrix.bias)
    for some, part in zip(pieces[1:], rest, strict=True):
        total.add_(kernel(some, part, None))
    return total


def _half(rows: Tensor, part: Any, _bias: Tensor | None) -> Tensor:
    """What torch's quantised layers of float16 call; the bias is packed with the weights."""
    found: Tensor = torch.ops.quantized.linear_dynamic_fp16(rows, part)
    return found


def _packed(rows: Tensor, part: Any, bias: Tensor | None) -> Tensor:
    """What torch's compiler calls on a CPU; it has no public name."""
    found: Tensor = torch.ops.mkldnn._linear_pointwise(rows, part, bias, "none", [], "")
    return found


def _plain(rows: Tensor, part: Any, bias: Tensor | None) -> Tensor:
    return torch.mm(rows, part) if bias is None else torch.addmm(bias, rows, part)


_KERNELS = {"half": _half, "packed": _packed, "plain": _plain}


def _has(kernel: Kernel, shape: Shape, device: torch.device) -> bool:
    """Whether this torch has a kernel on a device, for rows of a precision."""
    if kernel == "plain":
        return True
    if device.type != "cpu":
        return False
    precision = shape.precision
    if kernel == "half":
        engines = torch.backends.quantized.supported_engines
        return "fbgemm" in engines and precision == torch.float32 and not shape.exact
    if kernel == "packed":
        if not torch._C._has_mkldnn or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
            return False
        return precision == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return True


@cache
def _way(shape: Shape, device: torch.device, _threads: int) -> Way:
    """The first way in which a row has the same bits in any batch, for a shape on a device."""
    for way in WAYS[:-1]:
        if shape.inside % way.parts == 0 and _has(way.kernel, shape, device) and _holds(shape, device, way):
            return way
    return WAYS[-1]


@torch.inference_mode()
def _holds(shape: Shape, device: torch.device, way: Way) -> bool:
    """Whether every row has the same bits at all numbers of rows, with and without a bias."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(way.most, shape.inside, generator=generator).to(device, shape.precision)
    both = torch.randn(shape.outside, shape.inside + 1, generator=generator).to(device)
    weight, bias = both.tensor_split([shape.inside], dim=1)
    for some in (None, bias[:, 0]):
        matrix = _laid_out(weight, some, shape.precision, way)
        together = _product(rows, matrix)
        if not all(torch.equal(_product(rows[:count], matrix), together[:count]) for count in way.numbers):
            return False
    return True
