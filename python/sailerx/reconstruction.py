"""The reconstruction term E_q[-log p(x|z,c)] and the last layer in one pass.

The logits of a mini-batch are by far the largest thing in a step. Here they exist for a few peaks at a time, small
enough for the processor's cache, and loss and gradient come out together: in less time than logits, loss and autograd
take one after the other, and in none of the memory. A GPU takes `sailerx.tiles` instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sailerx import tiles
from sailerx.compiled import last_layer_nll
from sailerx.minibatch import OpenPeaks
from sailerx.pieces import by_chromosome, open_by_piece, pieces
from sailerx.threads import share_out
from sailerx.tiles import TiledNLL, tiles_of

#: logits (cells × peaks) that are worked on at a time: in single precision they take 1 MB of cache
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
        cut = list(pieces(sizes, _LOGITS_AT_ONCE // max(1, x.n_cells)))
        by_chrom = h.transpose(0, 1).contiguous()
        grad_h, grad_weight, grad_bias = (
            torch.zeros_like(by_chrom),
            torch.empty_like(weight),
            torch.zeros_like(bias),
        )
        peak, open_in = x.peak.numpy(), open_by_piece(x, cut)
        losses = [0.0] * len(cut)

        def work(chroms: Iterator[list[int]]) -> None:
            buffer = h.new_empty(x.n_cells * max(piece.width for piece in cut))
            for i in chain.from_iterable(chroms):
                k, here = cut[i].chrom, slice(cut[i].start, cut[i].end)
                logits = buffer[: x.n_cells * cut[i].width].view(x.n_cells, cut[i].width)
                torch.addmm(bias[here], by_chrom[k], weight[here].T, out=logits)
                open_here = peak, open_in[i], open_in[i + 1], cut[i].start
                losses[i] = last_layer_nll(
                    logits.numpy(), *open_here, positive_weight, grad_bias[here].numpy()
                )
                if wants_gradient:
                    torch.mm(logits.T, by_chrom[k], out=grad_weight[here])
                    grad_h[k].addmm_(logits, weight[here])

        share_out(by_chromosome(cut), work)
        if wants_gradient:
            ctx.gradients = grad_h.transpose(0, 1), grad_weight, grad_bias
        return h.new_tensor(math.fsum(losses))

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        # the gradient of a scalar is known up to a factor before anything behind it is; in place, and kept
        # nowhere else, so that autograd does not copy it
        gradients, ctx.gradients = ctx.gradients, None
        return *(gradient.mul_(grad_outputs[0]) for gradient in gradients), None, None, None, None
