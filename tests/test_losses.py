"""Every loss term against an independent route, entry by entry."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from sailerx.network import losses


@pytest.fixture
def posterior() -> tuple[Tensor, Tensor]:
    """Means and standard deviations of 7 cells × 4 latent dimensions, in double precision."""
    generator = torch.Generator().manual_seed(1)
    mean = torch.randn(7, 4, generator=generator, dtype=torch.float64)
    std = torch.randn(7, 4, generator=generator, dtype=torch.float64).exp()
    return mean, std


def test_kl_to_prior_matches_torch_distributions_cell_by_cell(posterior: tuple[Tensor, Tensor]) -> None:
    mean, std = posterior
    expected = kl_divergence(Normal(mean, std), Normal(torch.zeros_like(mean), torch.ones_like(std))).sum(
        dim=1
    )
    torch.testing.assert_close(losses.kl_to_prior(mean, std), expected, rtol=1e-12, atol=1e-12)


def test_pairwise_kl_matches_torch_distributions_entry_by_entry(posterior: tuple[Tensor, Tensor]) -> None:
    mean, std = posterior
    ours = losses.pairwise_kl(mean, std)
    for i in range(7):
        for j in range(7):
            expected = kl_divergence(Normal(mean[i], std[i]), Normal(mean[j], std[j])).sum()
            assert ours[i, j].item() == pytest.approx(expected.item(), rel=1e-12, abs=1e-12)


def test_pairwise_kl_matches_the_written_out_formula(posterior: tuple[Tensor, Tensor]) -> None:
    mean, std = (part.tolist() for part in posterior)
    ours = losses.pairwise_kl(*posterior)
    for i in range(7):
        for j in range(7):
            total = 0.0
            for d in range(4):
                spread = std[i][d] ** 2 + (mean[i][d] - mean[j][d]) ** 2
                total += math.log(std[j][d] / std[i][d]) + spread / (2 * std[j][d] ** 2) - 0.5
            assert ours[i, j].item() == pytest.approx(total, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_kl_to_marginal_is_the_mean_over_all_ordered_pairs(
    posterior: tuple[Tensor, Tensor], offset: float
) -> None:
    mean, std = posterior
    ours, brute = losses.kl_to_marginal(mean + offset, std), losses.pairwise_kl(mean, std).mean()
    assert ours.item() == pytest.approx(brute.item(), rel=1e-9)


def test_kl_to_marginal_has_the_gradient_of_the_mean_over_pairs(posterior: tuple[Tensor, Tensor]) -> None:
    ours, brute = ([part.clone().requires_grad_() for part in posterior] for _ in range(2))
    losses.kl_to_marginal(*ours).backward()
    losses.pairwise_kl(*brute).mean().backward()
    for a, b in zip(ours, brute, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-10, atol=1e-12)


def test_kl_to_marginal_is_zero_where_all_posteriors_agree() -> None:
    mean, std = torch.full((5, 3), 2.0, dtype=torch.float64), torch.full((5, 3), 0.3, dtype=torch.float64)
    assert losses.kl_to_marginal(mean, std).item() == pytest.approx(0, abs=1e-12)


def test_kl_to_marginal_bounds_the_divergence_from_the_mixture(posterior: tuple[Tensor, Tensor]) -> None:
    mean, std = posterior
    z = mean + std * torch.randn(4000, 7, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    own = Normal(mean, std).log_prob(z).sum(dim=-1)
    every = (
        Normal(mean, std).log_prob(z[:, :, None]).sum(dim=-1)
    )  # draw, cell it is from, cell it is scored by
    mixture = (own - every.logsumexp(dim=-1) + math.log(7)).mean()
    assert 0 < mixture < losses.kl_to_marginal(mean, std)


def cosine(a: list[float], b: list[float]) -> float:
    dot = sum(p * q for p, q in zip(a, b, strict=True))
    return dot / math.sqrt(sum(p * p for p in a) * sum(q * q for q in b))


def test_local_loss_matches_a_loop_over_pairs(posterior: tuple[Tensor, Tensor]) -> None:
    g, mean = torch.randn(7, 9, generator=torch.Generator().manual_seed(3), dtype=torch.float64), posterior[0]
    w = torch.linspace(0, 1, 7, dtype=torch.float64)
    total = 0.0
    for i in range(7):
        for j in range(7):
            difference = cosine(g[i].tolist(), g[j].tolist()) - cosine(mean[i].tolist(), mean[j].tolist())
            total += w[i].item() * w[j].item() * difference**2
    assert losses.local_loss(g, mean, w).item() == pytest.approx(total / 49, rel=1e-12)


def test_local_loss_ignores_rotation_and_length_of_the_embedding() -> None:
    g = torch.randn(6, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    rotation = torch.linalg.qr(
        torch.randn(4, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    )[0]
    stretched = (g @ rotation) * torch.arange(1, 7, dtype=torch.float64)[:, None]
    w = torch.ones(6, dtype=torch.float64)
    assert losses.local_loss(g, stretched, w).item() == pytest.approx(0, abs=1e-25)
    assert losses.local_loss(g, stretched.flip(0), w).item() > 0.01
