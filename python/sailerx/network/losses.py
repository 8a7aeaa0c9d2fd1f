"""The KL and alignment terms of the loss and the decoder's prior, one pure function each, in the paper's symbols.

    minimise  r · E_q[-log p(x|z,c)] + a · KL[q(z|x) || N(0, I)] + a · lambda · KL[q(z|x) || q(z)] + gamma · L_Local

Cao et al. 2022, equations of L_Inv and L_Local. The weights, per cell and per pair of cells, are in `sailerx.config`; the first
term is computed together with the last layer, in `sailerx.kernels.peak_layers.peaks_nll`. The decoder's prior, which the default
preset adds, is not in the paper.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def kl_to_prior(
    mean: Float[Tensor, "cells latent"], std: Float[Tensor, "cells latent"]
) -> Float[Tensor, " cells"]:
    """KL[q(z|x) || N(0, I)] of each cell, in nats."""
    # (var + mean^2 - 1 - log var) / 2
    var = std**2
    return 0.5 * (var + mean**2 - 1 - var.log()).sum(dim=1)


def pairwise_kl(
    mean: Float[Tensor, "cells latent"], std: Float[Tensor, "cells latent"]
) -> Float[Tensor, "cells cells"]:
    """KL[q(z|x_i) || q(z|x_j)] for every ordered pair (i, j) of cells, in nats."""
    # KL[N_i || N_j] = (r - log r - 1 + (mean_i - mean_j)^2 / var_j) / 2,  r = var_i / var_j
    var = std**2
    r = var[:, None] / var[None, :]  # i, j, latent
    distance = (mean[:, None] - mean[None, :]) ** 2 / var[None, :]
    return 0.5 * (r - r.log() - 1 + distance).sum(dim=-1)


def kl_to_marginal(
    mean: Float[Tensor, "cells latent"], std: Float[Tensor, "cells latent"]
) -> Float[Tensor, ""]:
    """Invariance penalty KL[q(z|x) || q(z)], the lambda term of L_Inv, in nats.

    Estimated within the mini-batch as the mean of `pairwise_kl` over all ordered pairs of cells, an upper bound
    because KL is convex (Moyer et al. 2018). The mean is computed without forming pairs: it separates into means
    over i and over j, and the log terms cancel.
    """
    var = std**2
    mean = mean - mean.mean(dim=0)  # no difference changes, but the cancellation below loses fewer digits
    precision = 1 / var
    # mean_ij (mean_i - mean_j)^2 / var_j = <mean^2><1/var> - 2 <mean><mean/var> + <mean^2/var>, and <mean> = 0
    r = var.mean(dim=0) * precision.mean(dim=0)
    distance = (mean**2).mean(dim=0) * precision.mean(dim=0) + (mean**2 * precision).mean(dim=0)
    return 0.5 * (r - 1 + distance).sum()


def local_loss(
    g: Float[Tensor, "cells reference"], mean: Float[Tensor, "cells latent"], w: Float[Tensor, " cells"]
) -> Float[Tensor, ""]:
    """L_Local: how far cell-to-cell cosine similarities of the RNA reference and of the ATAC posterior disagree.

    The mean over all ordered pairs (i, j) of cells of w_i w_j (cos(g_i, g_j) - cos(mean_i, mean_j))².
    """
    g, mean = F.normalize(g, dim=1), F.normalize(mean, dim=1)
    difference = g @ g.T - mean @ mean.T
    return (w[:, None] * w[None, :] * difference**2).mean()


def spread_of_weights(
    weight: Float[Tensor, "peaks hidden"], chrom_of: Int[Tensor, " peaks"], n_chroms: int
) -> Float[Tensor, ""]:
    """Sum over peaks of |w_j - m_k|², where m_k is the mean of the weights w of the peaks of chromosome k."""
    # through m_k flows no gradient, because deviations from a mean add up to 0
    return ((weight - chromosome_means(weight.detach(), chrom_of, n_chroms)[chrom_of]) ** 2).sum()


def chromosome_means(
    weight: Float[Tensor, "peaks hidden"], chrom_of: Int[Tensor, " peaks"], n_chroms: int
) -> Float[Tensor, "chroms hidden"]:
    """Compute m_k, the mean of the weights of the peaks of each chromosome; 0 for one without peaks."""
    n_peaks = weight.new_zeros(n_chroms).index_add(0, chrom_of, weight.new_ones(len(chrom_of)))
    total = weight.new_zeros(n_chroms, weight.shape[1]).index_add(0, chrom_of, weight)
    return total / n_peaks.clamp(min=1)[:, None]
