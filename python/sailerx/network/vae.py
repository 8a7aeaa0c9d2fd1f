"""The variational autoencoder: encode x to q(z|x), sample z, decode to p(x|z, c)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributions import Normal

from sailerx.config import Settings
from sailerx.data.peaks import Blocks
from sailerx.kernels import peak_layers
from sailerx.kernels.open_peaks import OpenPeaks
from sailerx.minibatches.shards import Part
from sailerx.network.layers import (
    ChromosomesToPeaks,
    LastLayer,
    NormActivation,
    PeaksToChromosomes,
    PrivatePosterior,
    WithinChromosomes,
    linear,
)

#: bound on |log var|, far outside the range of a trained posterior: keeps 1 / var finite in float32
_LARGEST_LOGVAR = 15.0


class VAE(nn.Module):
    """Encoder q(z|x), which never sees the confounders c, and decoder p(x|z, c), with peaks split by chromosome.

    Source: Cao et al. 2022, Figure 1 and Methods; layer sizes of the reference implementation.

    Parameters
    ----------
    blocks
        Range of columns of x of each chromosome, contiguous and in order.
    n_confounders
        Number of columns of c.
    n_latent, n_hidden, n_chrom
        Width of z; width per chromosome of the layer next to the peaks, and of the layer next to z.
    generator
        Draws the initial weights.
    input_share
        Whether the encoder sees x / depth instead of x.
    bounded_variance
        Whether the variance of q(z|x) is 1 / (1 + exp(-h)), h from the last layer, instead of exp(h). Data can only narrow the
        prior: 1 / (1 + precision) is the posterior variance of a linear Gaussian model, and that of any log-concave p(x|z) is
        below 1 (Brascamp and Lieb 1976).
    n_private
        Number of private dimensions, the last of z, whose posterior is fixed (`PrivatePosterior`).
    """

    def __init__(
        self,
        blocks: Blocks,
        n_confounders: int,
        n_latent: int,
        n_hidden: int,
        n_chrom: int,
        generator: torch.Generator,
        *,
        input_share: bool = False,
        bounded_variance: bool = False,
        n_private: int = 0,
    ) -> None:
        super().__init__()
        K, n_shared = len(blocks), n_latent - n_private
        self.n_chroms, self.n_chrom, self.n_shared = K, n_chrom, n_shared
        self.bounded_variance = bounded_variance
        self.encoder = nn.Sequential(
            PeaksToChromosomes(blocks, n_hidden, generator, share=input_share),
            NormActivation(K, n_hidden, K),
            WithinChromosomes(K, n_hidden, n_chrom, generator),
            NormActivation(K, n_chrom, K),
            nn.Flatten(),
        )
        self.mean_head = linear(K * n_chrom, n_shared, generator, xavier=True)
        self.logvar_head = linear(K * n_chrom, n_shared, generator, xavier=True)
        self.private = PrivatePosterior(blocks[-1][1], n_private) if n_private else None
        self.decoder_in = linear(n_latent + n_confounders, K * n_chrom, generator, xavier=False)
        self.decoder = nn.Sequential(
            NormActivation(K, n_chrom, 1),
            WithinChromosomes(K, n_chrom, n_hidden, generator),
            NormActivation(K, n_hidden, K),
        )
        self.to_peaks = ChromosomesToPeaks(blocks, n_hidden, generator)

    @property
    def from_peaks(self) -> PeaksToChromosomes:
        """First layer of the encoder."""
        layer = self.encoder[0]
        assert isinstance(layer, PeaksToChromosomes)
        return layer

    @classmethod
    def from_settings(
        cls, blocks: Blocks, n_confounders: int, settings: Settings, generator: torch.Generator
    ) -> VAE:
        """Make the network with the widths given by the settings."""
        widths = settings.n_latent, settings.n_hidden, settings.n_chrom
        return cls(
            blocks,
            n_confounders,
            *widths,
            generator,
            input_share=settings.input_share,
            bounded_variance=settings.bounded_variance,
            n_private=settings.private,
        )

    def encode(self, x: OpenPeaks, scores: Float[Tensor, "cells private"] | None = None) -> Normal:
        """Compute the posterior q(z|x) = N(mean, diag std²) of each cell; ``scores`` are those of x unless given."""
        h = self.encoder(x)
        logvar = self.logvar_head(h)
        if self.bounded_variance:
            logvar = F.logsigmoid(logvar)
        logvar = logvar.clamp(-_LARGEST_LOGVAR, _LARGEST_LOGVAR)
        # departure from the reference implementation, which samples with std = exp(logvar) but takes KL at exp(logvar / 2)
        mean, std = self.mean_head(h), (0.5 * logvar).exp()
        if self.private is not None:
            private_mean, private_std = self.private(self.private.scores(x) if scores is None else scores)
            mean, std = torch.cat([mean, private_mean], dim=1), torch.cat([std, private_std], dim=1)
        return Normal(mean, std, validate_args=False)

    def decode(
        self,
        z: Float[Tensor, "cells latent"],
        c: Float[Tensor, "cells confounders"],
        peaks: Int[Tensor, " chosen"] | None = None,
    ) -> Float[Tensor, "cells chosen"]:
        """Compute the logits of p(x|z, c) = Bernoulli, of ``peaks`` (ascending) or, with None, of all peaks."""
        return self.to_peaks(self.before_peaks(z, c), peaks)

    def reconstruction_nll(
        self,
        z: Float[Tensor, "cells latent"],
        c: Float[Tensor, "cells confounders"],
        x: OpenPeaks,
        last: LastLayer,
        positive_weight: float = 1.0,
    ) -> Float[Tensor, ""]:
        """Sum -log p(x|z, c) over cells and peaks without keeping the logits; columns of x are the peaks of ``last``."""
        return peak_layers.peaks_nll(self.before_peaks(z, c), *last, x, positive_weight)

    def before_peaks(
        self, z: Float[Tensor, "cells latent"], c: Float[Tensor, "cells confounders"]
    ) -> Float[Tensor, "cells chroms hidden"]:
        """Compute the features h from which the last layer makes the logits of each chromosome's peaks."""
        h = self.decoder_in(torch.cat([z, c], dim=1))
        return self.decoder(h.view(-1, self.n_chroms, self.n_chrom))


def sample(
    posterior: Normal, generator: torch.Generator, part: Part | None = None
) -> Float[Tensor, "cells latent"]:
    """Draw z from q(z|x) by reparametrisation; for a part of a mini-batch, use its rows of the whole mini-batch's noise."""
    n_cells, n_latent = posterior.mean.shape
    part = part or Part(n_cells)
    noise = torch.randn(part.n_cells, n_latent, generator=generator, device=posterior.mean.device)
    return posterior.mean + posterior.stddev * noise[part.cell]
