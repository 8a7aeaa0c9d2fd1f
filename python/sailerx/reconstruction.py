"""The reconstruction term E_q[-log p(x|z,c)] and the last layer in one pass.

The logits of a mini-batch are by far the largest thing in a step. Here they exist for a few peaks at a time, small
enough for the processor's cache, and loss and gradient come out together: in less time than logits, loss and autograd
take one after the other, and in none of the memory. A GPU takes `sailerx.tiles` instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from sailerx import tiles
from sailerx.minibatch import OpenPeaks
from sailerx.tiles import TiledNLL, tiles_of

#: logits (cells × peaks) that are worked on at a time; two such blocks of single precision fit into 2 MB of cache
_LOGITS_AT_ONCE = 250_000


def reconstruction_loss(
    h: Float[Tensor, "cells chroms hidden"],
    weight: Float[Tensor, "peaks hidden"],
    bias: Float[Tensor, " peaks"],
    chrom_of: Int[Tensor, " peaks"],
    x: OpenPeaks,
    positive_weight: float = 1.0,
) -> Float[Tensor, ""]:
    """Negative log-likelihood -log p(x|z,c) in nats, summed over cells and peaks.

    Parameters
    ----------
    h
        What the decoder hands to its last layer.
    weight, bias
        The last layer: the logit of peak j of chromosome k is ``h[:, k] @ weight[j] + bias[j]``.
    chrom_of
        Chromosome of each peak, ascending.
    x
        Open peaks of the same cells.
    positive_weight
        Factor on the part of open peaks (1 = the Bernoulli likelihood).
    """
    n_chroms = h.shape[1]
    loss: Tensor
    # inside the function itself autograd is off, whether or not a gradient will be asked for
    wants_gradient = torch.is_grad_enabled()
    if tiles.wanted(h):
        of = tiles_of(chrom_of, n_chroms)
        loss = TiledNLL.apply(h, weight, bias, x, of, positive_weight, wants_gradient)
        return loss
    sizes = torch.bincount(chrom_of, minlength=n_chroms).tolist()
    loss = _LastLayerNLL.apply(h, weight, bias, sizes, x, positive_weight, wants_gradient)
    return loss


class _LastLayerNLL(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        h: Tensor,
        weight: Tensor,
        bias: Tensor,
        sizes: Sequence[int],
        x: OpenPeaks,
        positive_weight: float,
        wants_gradient: bool,
    ) -> Tensor:
        pieces = list(_pieces(sizes, x.n_cells))
        loss = h.new_zeros(())
        buffers = h.new_empty(2, x.n_cells * max(piece.width for piece in pieces))
        by_chrom = h.transpose(0, 1).contiguous()
        grad_h, grad_weight, grad_bias = (
            torch.zeros_like(by_chrom),
            torch.empty_like(weight),
            torch.empty_like(bias),
        )
        for piece, open_at in zip(pieces, _open_by_piece(x, pieces), strict=True):
            k, here = piece.chrom, slice(piece.start, piece.end)
            logits, grad = (b[: x.n_cells * piece.width].view(x.n_cells, piece.width) for b in buffers)
            torch.addmm(bias[here], by_chrom[k], weight[here].T, out=logits)
            at_open = logits.view(-1).index_select(0, open_at)
            total = _softplus_and_sigmoid(logits, grad)
            if not total.isfinite():  # a logit too large for exp, which is rare
                torch.addmm(bias[here], by_chrom[k], weight[here].T, out=logits)
                total = F.softplus(logits).sum()
                torch.sigmoid(logits, out=grad)
            loss += total + _of_open_peaks(at_open, open_at, positive_weight, grad)
            if wants_gradient:
                torch.mm(grad.T, by_chrom[k], out=grad_weight[here])
                torch.sum(grad, 0, out=grad_bias[here])
                grad_h[k].addmm_(grad, weight[here])
        if wants_gradient:
            ctx.gradients = grad_h.transpose(0, 1), grad_weight, grad_bias
        return loss

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        # the gradient of a scalar is known up to a factor before anything behind it is; in place, and kept
        # nowhere else, so that autograd does not copy it
        gradients, ctx.gradients = ctx.gradients, None
        return *(gradient.mul_(grad_outputs[0]) for gradient in gradients), None, None, None, None


def _softplus_and_sigmoid(logits: Tensor, grad: Tensor) -> Float[Tensor, ""]:
    """Sum of softplus(l), the loss of closed peaks; its gradient sigmoid(l) is written into ``grad``, logits are overwritten.

    One exponential serves both. In single precision log(1 + e) is as exact as the sum needs.
    """
    torch.exp(logits, out=grad)
    torch.add(grad, 1, out=logits)
    grad.div_(logits)
    return logits.log_().sum()


def _of_open_peaks(
    at_open: Tensor, open_at: Tensor, positive_weight: float, grad: Tensor
) -> Float[Tensor, ""]:
    """What open peaks add to the loss; their part of the gradient is added to ``grad``.

    -log p = softplus(l) - x · l, and with weight p on open peaks + (p - 1) · x · softplus(-l).
    """
    # d/dl = sigmoid(l) - x · (1 + (p - 1) · sigmoid(-l))
    flat = grad.view(-1)
    if positive_weight == 1:
        flat.index_add_(0, open_at, at_open.new_full((len(open_at),), -1))
        return -at_open.sum()
    closed = 1 - flat.index_select(0, open_at)
    flat.index_add_(0, open_at, 1 + (positive_weight - 1) * closed, alpha=-1)
    return ((positive_weight - 1) * F.softplus(-at_open) - at_open).sum()


@dataclass(frozen=True)
class _Piece:
    """Neighbouring peaks of one chromosome, from start to end (exclusive)."""

    chrom: int
    start: int
    end: int

    @property
    def width(self) -> int:
        return self.end - self.start


def _pieces(sizes: Sequence[int], n_cells: int) -> Iterator[_Piece]:
    """Chromosomes, cut where their logits would be too many at once."""
    first = 0
    for k, size in enumerate(sizes):
        n_pieces = max(1, math.ceil(size * n_cells / _LOGITS_AT_ONCE))
        width = max(1, math.ceil(size / n_pieces))
        for start in range(first, first + size, width):
            yield _Piece(k, start, min(start + width, first + size))
        first += size


def _open_by_piece(x: OpenPeaks, pieces: list[_Piece]) -> Iterator[Int[Tensor, " ones"]]:
    """For each piece the open peaks' positions in its logits, counted row by row."""
    cell, peak, begin = x.by_peak
    starts = begin.tolist()
    for piece in pieces:
        here = slice(starts[piece.start], starts[piece.end])
        yield cell[here] * piece.width + (peak[here] - piece.start)
