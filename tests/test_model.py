"""Encode, sample, decode: shapes, what sees what, and one scale for sampling and KL."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from data import open_peaks
from sailerx.network.losses import kl_to_prior
from sailerx.network.vae import VAE, sample

BLOCKS = ((0, 40), (40, 70), (70, 90))


def network(seed: int = 0, n_confounders: int = 3, *, bounded_variance: bool = False) -> VAE:
    generator = torch.Generator().manual_seed(seed)
    return VAE(BLOCKS, n_confounders, 5, 8, 4, generator, bounded_variance=bounded_variance)


@pytest.fixture
def x() -> Tensor:
    return (torch.rand(12, 90, generator=torch.Generator().manual_seed(7)) < 0.2).float()


def test_shapes_of_posterior_and_logits(x: Tensor) -> None:
    vae, c = network(), torch.zeros(12, 3)
    posterior = vae.encode(open_peaks(x))
    assert posterior.mean.shape == posterior.stddev.shape == (12, 5)
    assert (posterior.stddev > 0).all()
    assert vae.decode(posterior.mean, c).shape == (12, 90)


def test_sampling_has_the_standard_deviation_that_the_kl_is_taken_with() -> None:
    posterior = Normal(
        torch.tensor([[1.0, -2.0]]).expand(40_000, 2), torch.tensor([[0.1, 3.0]]).expand(40_000, 2)
    )
    z = sample(posterior, torch.Generator().manual_seed(0))
    torch.testing.assert_close(z.mean(dim=0), torch.tensor([1.0, -2.0]), rtol=0.03, atol=0)
    torch.testing.assert_close(z.std(dim=0), torch.tensor([0.1, 3.0]), rtol=0.02, atol=0)


def test_sampling_passes_gradients_to_mean_and_standard_deviation() -> None:
    mean, std = torch.zeros(3, 2, requires_grad=True), torch.ones(3, 2, requires_grad=True)
    z = sample(Normal(mean, std), torch.Generator().manual_seed(0))
    z.sum().backward()
    torch.testing.assert_close(mean.grad, torch.ones(3, 2))
    torch.testing.assert_close(std.grad, z.detach())


def test_posterior_standard_deviation_is_exp_of_half_the_log_variance(x: Tensor) -> None:
    vae = network().eval()
    logvar = vae.logvar_head(vae.encoder(open_peaks(x)))
    torch.testing.assert_close(vae.encode(open_peaks(x)).variance, logvar.exp())


def test_bounded_variance_is_that_of_a_precision_beside_the_prior_s(x: Tensor) -> None:
    vae = network(bounded_variance=True).eval()
    h = vae.logvar_head(vae.encoder(open_peaks(x)))
    torch.testing.assert_close(vae.encode(open_peaks(x)).variance, 1 / (1 + (-h).exp()))


def test_bounded_variance_keeps_the_kl_of_outlying_cells_small(x: Tensor) -> None:
    for bounded_variance in (False, True):
        vae = network(bounded_variance=bounded_variance).eval()
        with torch.no_grad():
            vae.logvar_head.bias.fill_(30)  # what the last layer says of a cell unlike all others
        posterior = vae.encode(open_peaks(x))
        kl = kl_to_prior(torch.zeros_like(posterior.mean), posterior.stddev)
        assert (kl < 1e-3).all() if bounded_variance else (kl > 1e6).all()


def test_decoder_sees_every_confounder(x: Tensor) -> None:
    vae = network().eval()
    z, c = torch.zeros(12, 5), torch.zeros(12, 3)
    before = vae.decode(z, c)
    for column in range(3):
        changed = c.clone()
        changed[:, column] = 1
        assert (vae.decode(z, changed) - before).abs().amax(dim=0).gt(0).all()


def test_every_peak_reaches_the_posterior_and_only_its_own_chromosome(x: Tensor) -> None:
    vae = network().eval()
    hidden = vae.encoder[0](open_peaks(x))
    flipped = x.clone()
    flipped[:, 45] = 1 - flipped[:, 45]  # a peak of the second chromosome
    difference = (vae.encoder[0](open_peaks(flipped)) - hidden).abs().amax(dim=(0, 2))
    assert difference[1] > 0
    assert difference[0] == difference[2] == 0


def test_parameters_grow_linearly_with_peaks() -> None:
    def count(n: int) -> int:
        vae = VAE(((0, n), (n, 2 * n)), 1, 5, 8, 4, torch.Generator())
        return sum(parameter.numel() for parameter in vae.parameters())

    assert count(300) - count(200) == count(200) - count(100) == 200 * (8 + 8 + 1)


def test_one_seed_fixes_all_weights() -> None:
    first, again, other = (network(seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["mean_head.weight"], other["mean_head.weight"])


def test_confounders_of_another_number_of_cells_are_refused_while_testing() -> None:
    with pytest.raises(Exception, match="[Tt]ype-check"):
        network().decode(torch.zeros(12, 5), torch.zeros(11, 3))
