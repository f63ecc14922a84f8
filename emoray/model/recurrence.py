"""Recurrence: an LSTM layer on a CPU, forward and backward, by products of one matrix that is laid out once.

Conventions
-----------
Both matrices of a layer are taken as one, which multiplies [what comes in, what went out before] of a time
step; the gradient goes back through its transpose. Gates are in torch's order: in, forget, new, out. Products
run in the precision of ``x``, gates and cells in float32 or better. What a weight is to blame for is one
product over all steps.

Figures beside torch's own layer (oneDNN's) are in ``benchmarks/experiments.md``.

Letters: **T** steps, **B** rows, **K** inside, **H** hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from emoray.model.matrix import multiplies_bfloat16

Carried = tuple[Tensor, Tensor]


def recurrence(layer: nn.LSTM, x: Tensor, carried: Carried) -> tuple[Tensor, Carried]:
    """What ``layer(x, carried)`` gives: one layer, one direction, batch first.

    Args:
        layer: whose parameters are used.
        x: [B, T, K].
        carried: (h, c), [1, B, H] each.
    """
    precision = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    weight_in, weight_again, bias_in, bias_again = layer.parameters()
    out, hidden, cell = _Recurrence.apply(  # type: ignore[no-untyped-call]
        x.to(precision), carried[0][0], carried[1][0], weight_in, weight_again, bias_in + bias_again
    )
    return out, (hidden[None], cell[None])


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        hidden: Tensor,
        cell: Tensor,
        weight_in: Tensor,
        weight_again: Tensor,
        bias: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        rows, steps, inside = x.shape
        units, exact = weight_again.shape[1], torch.promote_types(x.dtype, torch.float32)
        weights = torch.cat([weight_in, weight_again], dim=1).to(x.dtype)
        times_weights = product(weights, rows)
        heard = x.new_empty(steps + 1, rows, inside + units)
        heard[:-1, :, :inside] = x.transpose(0, 1)
        heard[0, :, inside:] = hidden
        kept = x.new_empty(steps, rows, 4 * units)
        cells = torch.empty(steps + 1, rows, units, dtype=exact)
        cells[0] = cell
        for step in range(steps):
            gates = times_weights(heard[step]).to(exact).add_(bias)
            gates[:, : 2 * units].sigmoid_()
            gates[:, 2 * units : 3 * units].tanh_()
            gates[:, 3 * units :].sigmoid_()
            kept[step] = gates
            taken_in, remembered, new, shown = gates.chunk(4, dim=1)
            after = torch.mul(remembered, cells[step], out=cells[step + 1]).addcmul_(taken_in, new)
            torch.mul(shown, after.tanh(), out=heard[step + 1, :, inside:])
        ctx.save_for_backward(weights, heard, kept, cells)
        ctx.inside = inside
        return heard[1:, :, inside:].transpose(0, 1), heard[-1, :, inside:].to(exact), cells[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor, grad_hidden: Tensor, grad_cell: Tensor) -> tuple[Tensor, ...]:
        weights, heard, kept, cells = ctx.saved_tensors
        steps, rows, wide = kept.shape
        units, inside, exact = wide // 4, ctx.inside, cells.dtype
        back_through_weights = product(weights.t(), rows)
        grad_x, grad_bias = heard.new_empty(rows, steps, inside), cells.new_zeros(wide)
        across = heard.new_empty(inside + units, steps * rows)
        grad = cells.new_empty(rows, wide)
        grad_in, grad_forget, grad_new, grad_shown = grad.chunk(4, dim=1)
        for step in reversed(range(steps)):
            gates = kept[step].to(exact)
            taken_in, remembered, new, shown = gates.chunk(4, dim=1)
            bounded = cells[step + 1].tanh()
            grad_hidden = grad_hidden + grad_out[:, step]
            grad_cell = grad_cell + torch.ops.aten.tanh_backward(grad_hidden * shown, bounded)
            torch.mul(grad_cell, new, out=grad_in)
            torch.mul(grad_cell, cells[step], out=grad_forget)
            torch.mul(grad_cell, taken_in, out=grad_new)
            torch.mul(grad_hidden, bounded, out=grad_shown)
            _unsquash(grad, gates, units)
            grad_cell = grad_cell * remembered
            grad_bias += grad.sum(dim=0)
            kept[step] = grad  # in the place of the gates: they are not needed again
            back = back_through_weights(kept[step])
            grad_x[:, step] = back[:, :inside]
            grad_hidden = back[:, inside:].to(exact)
            across[:, step * rows : (step + 1) * rows] = heard[step].t()
        grad_weights = torch.mm(across, kept.flatten(0, 1)).to(exact).t()
        of_in, of_again = (part.contiguous() for part in torch.split(grad_weights, [inside, units], dim=1))
        return grad_x, grad_hidden, grad_cell, of_in, of_again, grad_bias


def _unsquash(grad: Tensor, gates: Tensor, units: int) -> None:
    """Gradients [B, 4 x H] of gates to those of what went into sigmoid and tanh, in place."""
    sigmoid, tanh = torch.ops.aten.sigmoid_backward.grad_input, torch.ops.aten.tanh_backward.grad_input
    for function, first, last in ((sigmoid, 0, 2), (tanh, 2, 3), (sigmoid, 3, 4)):
        part = grad[:, first * units : last * units]
        function(part, gates[:, first * units : last * units], grad_input=part)


def product(weights: Tensor, rows: int) -> Callable[[Tensor], Tensor]:
    """Function from [rows, K] to [rows, O] by weights [O, K], laid out now for all its calls."""
    if weights.dtype is not torch.bfloat16 or not multiplies_bfloat16(weights.device):
        laid_out = weights.t().contiguous()
        return lambda x: torch.mm(x, laid_out)
    blocked = torch.ops.mkldnn._reorder_linear_weight(weights.contiguous(), rows)
    return lambda x: torch.ops.mkldnn._linear_pointwise(x, blocked, None, "none", [], "")
