"""The loss of one mini-batch: the weighted sum of the paper's terms."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sailerx.config import Settings
from sailerx.kernels.open_peaks import CsrPeaks, OpenPeaks
from sailerx.minibatches.loader import Minibatch
from sailerx.minibatches.sampler import thinned
from sailerx.network import losses
from sailerx.network.schedules import LossWeights
from sailerx.network.vae import VAE, sample


def terms_of(settings: Settings) -> tuple[str, ...]:
    """Name the terms of the loss, which are columns of the history: without lambda, KL[q(z|x) || q(z)] is none of them."""
    marginal = ("kl_marginal",) if settings.lambda_ else ()
    return ("reconstruction", "kl_prior", *marginal, "alignment")


def minibatch_loss(
    vae: VAE,
    minibatch: Minibatch,
    weights: LossWeights,
    noise: torch.Generator,
    peaks: Int[Tensor, " chosen"] | None = None,
    thinning: tuple[float, float] = (0.0, 1.0),
) -> tuple[Float[Tensor, ""], list[Float[Tensor, ""]]]:
    """Compute the loss of one mini-batch, and its terms, unweighted and detached, in the order of `terms_of`.

    If several processes share the mini-batch, each returns the loss of the whole mini-batch: posteriors are gathered
    from all processes and reconstruction terms are added.

    Parameters
    ----------
    vae
        The network.
    minibatch
        x, RNA reference, confounders and alignment weights of its cells.
    weights
        Factor of each term.
    noise
        Draws the sample of z and the thinning.
    peaks
        Random peaks (ascending) from which the reconstruction over all peaks, and the spread of their weights, are estimated,
        the former without bias; None for all.
    thinning
        Share of the cells that are thinned for the encoder, and the share of their open peaks that it sees.
    """
    x, part = minibatch.x, minibatch.part
    cell_share, peak_share = thinning
    shown, scores = x, minibatch.scores
    if cell_share:
        shown, is_thinned = thinned(x, cell_share, peak_share, noise, part)
        scores = _scores_of(shown, scores, is_thinned, vae)
    posterior = vae.encode(shown, scores)
    mean, std = part.gathered(posterior.mean, posterior.stddev)
    z = sample(posterior, noise, part)
    target = x if peaks is None else x.only(peaks)
    last = vae.to_peaks.rows(peaks)
    nll = part.summed(vae.reconstruction_nll(z, minibatch.c, target, last, weights.positive_weight))
    per_chosen = x.n_peaks / target.n_peaks
    reconstruction = nll / part.n_cells * per_chosen
    kl_prior = losses.kl_to_prior(mean, std).mean()
    loss, terms = (
        weights.reconstruction * reconstruction + weights.prior * kl_prior,
        [reconstruction, kl_prior],
    )
    if weights.marginal is not None:
        kl_marginal = losses.kl_to_marginal(mean, std)
        loss, terms = loss + weights.marginal * kl_marginal, [*terms, kl_marginal]
    shared = mean[:, : vae.n_shared]
    alignment = losses.local_loss(minibatch.g, shared, _pair_weights(minibatch, weights.weighted_cells))
    loss = loss + weights.alignment * alignment
    if weights.decoder is not None:
        spread = losses.spread_of_weights(last.weight, last.chrom_of, vae.n_chroms)
        loss = loss + weights.decoder / 2 * spread * per_chosen
    return loss, [term.detach() for term in (*terms, alignment)]


def _scores_of(
    shown: OpenPeaks,
    scores: Float[Tensor, "cells private"] | None,
    is_thinned: Bool[Tensor, " cells"],
    vae: VAE,
) -> Float[Tensor, "cells private"] | None:
    """Compute the scores of thinned cells anew; None = those of all cells are computed anyway."""
    if scores is None or vae.private is None or not isinstance(shown, CsrPeaks):
        return None
    return scores.index_put((is_thinned,), vae.private.scores(shown.of_cells(is_thinned)))


def _pair_weights(minibatch: Minibatch, weighted: bool) -> Float[Tensor, " cells"]:
    """Compute w of L_Local: 0 without RNA, scaled so that a mean over all pairs is one over pairs with RNA."""
    paired = minibatch.has_rna.to(minibatch.w.dtype)
    scale = len(paired) / paired.sum().clamp(min=1)
    return paired * scale * (minibatch.w if weighted else 1)
