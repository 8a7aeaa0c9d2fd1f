"""Layers split by chromosome against one plain layer per chromosome with the same weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from data import open_peaks
from sailerx.kernels import gpu, peak_layers
from sailerx.network.layers import (
    ChromosomesToPeaks,
    NormActivation,
    PeaksToChromosomes,
    WithinChromosomes,
    linear,
)

BLOCKS = ((0, 5), (5, 6), (6, 13))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def plain_linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """A PyTorch layer with these weights, outputs × inputs."""
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight.detach(), "bias": bias.detach()})
    return layer


@pytest.fixture
def x() -> Tensor:
    """8 cells × 13 peaks; the first cell has none on the first chromosome, the last has none at all."""
    x = (torch.rand(8, 13, generator=generator(1)) < 0.4).float()
    x[0, :5], x[-1] = 0, 0
    return x


@pytest.fixture(params=[None, 2, 20])
def tile_width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a CPU; as on a GPU, with tiles narrower and wider than a chromosome."""
    if request.param:
        monkeypatch.setattr(peak_layers, "kernels_for", lambda _: gpu)
        monkeypatch.setattr(gpu, "WIDTH", request.param)


@pytest.mark.usefixtures("tile_width")
def test_peaks_to_chromosomes_is_one_linear_layer_per_chromosome(x: Tensor) -> None:
    layer = PeaksToChromosomes(BLOCKS, 4, generator())
    ours = layer(open_peaks(x))
    for k, (a, b) in enumerate(BLOCKS):
        theirs = plain_linear(layer.weight[a:b].T, layer.bias[k])(x[:, a:b])
        torch.testing.assert_close(ours[:, k], theirs, rtol=1e-5, atol=1e-6)


def test_peaks_to_chromosomes_starts_from_directions_scaled_to_its_weights() -> None:
    layer, random = (PeaksToChromosomes(BLOCKS, 4, generator()) for _ in range(2))
    directions = 100 * torch.randn(13, 3, generator=generator(3))
    directions[5] = 0  # the whole second chromosome says nothing
    layer.start_from(directions)
    for a, b in ((0, 5), (6, 13)):
        ratio = layer.weight[a:b, :3] / directions[a:b]
        torch.testing.assert_close(ratio, ratio[0, 0].expand_as(ratio))
        size = random.weight[a:b].std(correction=0)
        torch.testing.assert_close(layer.weight[a:b, :3].square().mean().sqrt(), size)
    torch.testing.assert_close(layer.weight[:, 3], random.weight[:, 3])
    torch.testing.assert_close(layer.weight[5], random.weight[5])


@pytest.mark.usefixtures("tile_width")
def test_peaks_to_chromosomes_passes_the_gradient_of_the_dense_product(x: Tensor) -> None:
    layer = PeaksToChromosomes(BLOCKS, 4, generator())
    factor = torch.randn(8, 3, 4, generator=generator(2))
    (factor * layer(open_peaks(x))).sum().backward()
    for k, (a, b) in enumerate(BLOCKS):
        torch.testing.assert_close(layer.weight.grad[a:b], x[:, a:b].T @ factor[:, k], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(layer.bias.grad, factor.sum(dim=0), rtol=1e-5, atol=1e-6)


def test_chromosomes_to_peaks_is_one_linear_layer_per_chromosome() -> None:
    layer, h = ChromosomesToPeaks(BLOCKS, 4, generator()), torch.randn(8, 3, 4, generator=generator(1))
    ours = layer(h)
    for k, (a, b) in enumerate(BLOCKS):
        theirs = plain_linear(layer.weight[a:b], layer.bias[a:b])(h[:, k])
        torch.testing.assert_close(ours[:, a:b], theirs, rtol=1e-5, atol=1e-6)


def test_logits_of_chosen_peaks_equal_those_of_all_peaks() -> None:
    layer, h = ChromosomesToPeaks(BLOCKS, 4, generator()), torch.randn(8, 3, 4, generator=generator(1))
    for some in ([0, 4, 6, 12], [5], [1, 2], list(range(13))):
        torch.testing.assert_close(layer(h, torch.tensor(some)), layer(h)[:, some], rtol=1e-6, atol=1e-6)


def test_within_chromosomes_is_one_linear_layer_per_chromosome() -> None:
    layer, h = WithinChromosomes(3, 4, 2, generator()), torch.randn(8, 3, 4, generator=generator(1))
    ours = layer(h)
    for k in range(3):
        theirs = plain_linear(layer.weight[k].T, layer.bias[k])(h[:, k])
        torch.testing.assert_close(ours[:, k], theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_norm_activation_is_batchnorm_and_prelu_per_chromosome(training: bool) -> None:
    layer, h = NormActivation(3, 4, 3), 3 * torch.randn(8, 3, 4, generator=generator(1)) + 1
    with torch.no_grad():
        layer.slope.copy_(torch.tensor([0.1, 0.0, -0.5]))
        layer.norm.weight.copy_(torch.linspace(0.5, 2, 12))
        layer.norm.bias.copy_(torch.linspace(-1, 1, 12))
    layer.train()(h + 1)  # so that the running moments are not the initial ones
    plain = [nn.Sequential(nn.BatchNorm1d(4), nn.PReLU()) for _ in range(3)]
    for k, (norm, activation) in enumerate(plain):
        state = {
            name: value.view(3, 4)[k] if value.ndim else value
            for name, value in layer.norm.state_dict().items()
        }
        norm.load_state_dict(state)
        activation.load_state_dict({"weight": layer.slope[k : k + 1]})
    ours = layer.train(training)(h)
    theirs = torch.stack([part.train(training)(h[:, k]) for k, part in enumerate(plain)], dim=1)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_first_weights_are_xavier_uniform_within_each_chromosome() -> None:
    blocks = ((0, 400), (400, 420))
    for layer in (PeaksToChromosomes(blocks, 64, generator()), ChromosomesToPeaks(blocks, 64, generator())):
        for a, b in blocks:
            bound = math.sqrt(6 / (b - a + 64))
            assert 0.97 * bound < layer.weight[a:b].abs().max() <= bound


def test_plain_linear_layer_is_xavier_or_pytorchs_default() -> None:
    for xavier, bound in ((True, math.sqrt(6 / 150)), (False, 1 / math.sqrt(100))):
        weight = linear(100, 50, generator(), xavier=xavier).weight
        assert 0.97 * bound < weight.abs().max() <= bound


@pytest.mark.parametrize(
    "make",
    [
        lambda g: PeaksToChromosomes(BLOCKS, 4, g),
        lambda g: ChromosomesToPeaks(BLOCKS, 4, g),
        lambda g: WithinChromosomes(3, 4, 2, g),
        lambda g: linear(4, 2, g, xavier=True),
    ],
)
def test_weights_come_from_the_generator_alone(make: object) -> None:
    first, again, other = (make(generator(seed)) for seed in (0, 0, 1))  # type: ignore[operator]
    assert torch.equal(first.weight, again.weight)
    assert torch.equal(first.bias, again.bias)
    assert not torch.equal(first.weight, other.weight)
    assert not torch.equal(first.bias, other.bias)


def test_layers_refuse_shapes_that_do_not_fit_while_testing() -> None:
    with pytest.raises(Exception, match="[Tt]ype-check"):
        WithinChromosomes(3, 4, 2, generator())(torch.zeros(8, 12))


def test_logits_start_from_the_frequency_of_each_peak() -> None:
    layer = ChromosomesToPeaks(BLOCKS, 4, generator())
    frequency = torch.linspace(0.01, 0.9, 13)
    layer.start_from(frequency)
    logits = layer(torch.zeros(2, 3, 4))
    torch.testing.assert_close(logits.sigmoid(), frequency.expand(2, 13))
