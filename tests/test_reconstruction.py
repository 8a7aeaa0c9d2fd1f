"""The reconstruction term with its last layer against torch.distributions and plain autograd."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Bernoulli

from data import open_peaks
from sailerx import threads
from sailerx.kernels import cpu, gpu, peak_layers
from sailerx.kernels.numba_loops import logits_nll_bfloat16
from sailerx.kernels.peak_layers import peaks_nll, sum_of_open

SIZES = [5, 1, 0, 7]  # peaks of each chromosome; one has none, as it happens when some are drawn
CHROM_OF = torch.repeat_interleave(torch.arange(4), torch.tensor(SIZES))


@pytest.fixture
def layer() -> dict[str, Tensor]:
    """What the last layer sees and its weights: 6 cells, 4 chromosomes, 3 hidden units."""
    g = torch.Generator().manual_seed(2)
    shapes = {"h": (6, len(SIZES), 3), "weight": (sum(SIZES), 3), "bias": (sum(SIZES),)}
    return {name: torch.randn(shape, generator=g, dtype=torch.float64) for name, shape in shapes.items()}


@pytest.fixture
def x() -> Tensor:
    """6 cells × 13 peaks; one cell has none open, one has all."""
    x = (torch.rand(6, sum(SIZES), generator=torch.Generator().manual_seed(3)) < 0.4).double()
    x[0], x[1] = 0, 1
    return x


@pytest.fixture(params=["1", "2", "all", "by two threads", "tiles of 3", "tiles of 20"])
def at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every peak for itself, two at a time, all of a chromosome; and as on a GPU."""
    before = torch.get_num_threads()
    if request.param.startswith("tiles"):
        monkeypatch.setattr(peak_layers, "kernels_for", lambda _: gpu)
        monkeypatch.setattr(gpu, "WIDTH", int(request.param.split()[-1]))
    else:
        torch.set_num_threads(2 if request.param == "by two threads" else 1)
        monkeypatch.setattr(threads, "_WORTH_IT", 0)
        n_bytes = {"1": 6 * 8, "2": 12 * 8}.get(request.param, 1_000_000)
        monkeypatch.setattr(cpu, "_BYTES_OF_LOGITS", n_bytes)
    yield
    torch.set_num_threads(before)


def plain_logits(layer: dict[str, Tensor]) -> Tensor:
    return torch.stack(
        [layer["h"][:, k] @ layer["weight"][j] + layer["bias"][j] for j, k in enumerate(CHROM_OF)], dim=1
    )


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_loss_is_the_bernoulli_likelihood(layer: dict[str, Tensor], x: Tensor, scale: float) -> None:
    layer["h"] *= scale  # at 100 some logits are beyond what exp can take in single precision
    expected = -Bernoulli(logits=plain_logits(layer)).log_prob(x).sum()
    ours = peaks_nll(**layer, chrom_of=CHROM_OF, x=open_peaks(x))
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("scale", [1.0, 100.0])
@pytest.mark.parametrize("positive_weight", [0.0, 1.0, 20.0])
def test_loss_and_gradients_match_autograd_with_a_weight_on_open_peaks(
    layer: dict[str, Tensor], x: Tensor, positive_weight: float, scale: float
) -> None:
    layer["h"] *= scale
    ours = {name: t.clone().requires_grad_() for name, t in layer.items()}
    theirs = {name: t.clone().requires_grad_() for name, t in layer.items()}
    loss = peaks_nll(**ours, chrom_of=CHROM_OF, x=open_peaks(x), positive_weight=positive_weight)
    weight = torch.tensor(positive_weight, dtype=torch.float64)
    expected = F.binary_cross_entropy_with_logits(plain_logits(theirs), x, pos_weight=weight, reduction="sum")
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    (0.3 * loss).backward()
    (0.3 * expected).backward()
    for name in layer:
        torch.testing.assert_close(ours[name].grad, theirs[name].grad, rtol=1e-10, atol=1e-12)


def test_loss_is_the_same_where_no_gradient_is_asked_for(layer: dict[str, Tensor], x: Tensor) -> None:
    with torch.no_grad():
        alone = peaks_nll(**layer, chrom_of=CHROM_OF, x=open_peaks(x))
    layer["h"].requires_grad_()
    assert alone.item() == peaks_nll(**layer, chrom_of=CHROM_OF, x=open_peaks(x)).item()


@pytest.mark.parametrize("kind", ["none open", "all open"])
def test_loss_of_cells_with_no_or_every_peak(layer: dict[str, Tensor], kind: str) -> None:
    x = torch.full((6, sum(SIZES)), float(kind == "all open"), dtype=torch.float64)
    expected = -Bernoulli(logits=plain_logits(layer)).log_prob(x).sum()
    torch.testing.assert_close(peaks_nll(**layer, chrom_of=CHROM_OF, x=open_peaks(x)), expected)


def test_loss_stays_finite_at_huge_logits_in_single_precision() -> None:
    bias = torch.tensor([-1e4, 1e4, 0.0, 88.0])
    h, weight = torch.zeros(1, 1, 2), torch.zeros(4, 2)
    loss = peaks_nll(h, weight, bias, torch.zeros(4).long(), open_peaks(torch.tensor([[1.0, 0.0, 1.0, 0.0]])))
    assert loss.item() == pytest.approx(1e4 + 1e4 + math.log(2) + 88, rel=1e-6)


@pytest.mark.parametrize("positive_weight", [1.0, 20.0])
@pytest.mark.parametrize("n_bytes", [40 * 2 * 3, 1_000_000])  # three peaks at a time, all of a chromosome
def test_products_in_bfloat16_are_close(
    monkeypatch: pytest.MonkeyPatch, n_bytes: int, positive_weight: float
) -> None:
    monkeypatch.setattr(cpu, "product_dtype", lambda *_: torch.bfloat16)
    monkeypatch.setattr(cpu, "_BYTES_OF_LOGITS", n_bytes)
    g = torch.Generator().manual_seed(5)
    sizes = [70, 1, 0, 130]
    chrom_of = torch.repeat_interleave(torch.arange(4), torch.tensor(sizes))
    shapes = {"h": (40, 4, 16), "weight": (sum(sizes), 16), "bias": (sum(sizes),)}
    ours = {name: torch.randn(shape, generator=g) for name, shape in shapes.items()}
    ours["bias"] -= 3  # few peaks are open
    # these are exact in bfloat16, so that only the product and the gradient of the logits are rounded
    ours |= {name: ours[name].bfloat16().float() for name in ("h", "weight")}
    theirs = {name: t.double().requires_grad_() for name, t in ours.items()}
    x = (torch.rand(40, sum(sizes), generator=g) < 0.1).float()
    for t in ours.values():
        t.requires_grad_()
    weights = {"pos_weight": torch.tensor(positive_weight), "reduction": "sum"}
    products = torch.stack([theirs["h"][:, k] @ theirs["weight"][j] for j, k in enumerate(chrom_of)], dim=1)
    expected = F.binary_cross_entropy_with_logits(products + theirs["bias"], x.double(), **weights)
    loss = peaks_nll(**ours, chrom_of=chrom_of, x=open_peaks(x), positive_weight=positive_weight)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    (0.3 * loss).backward()
    (0.3 * expected).backward()
    for name, t in ours.items():
        assert t.grad.dtype == torch.float32
        difference = (t.grad - theirs[name].grad).abs()
        # rounding to bfloat16 changes a number by up to 2^-9 of it, here those of a product, of its gradient, and of their sum
        assert difference.max() < 2**-7 * theirs[name].grad.abs().max()


def test_rounding_to_bfloat16_is_that_of_pytorch() -> None:
    products = torch.tensor([0.0, 1.0, -2.5, 3.140625, -88.0]).bfloat16()
    bias = torch.tensor([-0.1, 0.3, 7.0, -3.1, 88.0])
    bits, sums = products.clone().view(torch.int16)[None].numpy(), np.zeros(5, np.float32)
    peak, ends = np.array([1, 4], np.int32), np.array([2])
    loss = logits_nll_bfloat16(bits, bias.numpy(), peak, np.array([0]), ends, 0, 1.0, sums)
    logits = products.double() + bias
    x = torch.tensor([0.0, 1.0, 0.0, 0.0, 1.0])
    assert loss == pytest.approx(
        F.binary_cross_entropy_with_logits(logits, x.double(), reduction="sum").item()
    )
    np.testing.assert_allclose(sums, logits.sigmoid() - x, rtol=1e-5, atol=1e-7)
    assert torch.equal(torch.from_numpy(bits[0]).view(torch.bfloat16), torch.from_numpy(sums).bfloat16())


@pytest.mark.parametrize(
    ("dtype", "n_multiplied", "capable", "expected"),
    [
        (torch.float32, 2**20, True, torch.bfloat16),
        (torch.float32, 2**20 - 1, True, torch.float32),
        (torch.float32, 2**20, False, torch.float32),
        (torch.float64, 2**20, True, torch.float64),
    ],
)
def test_large_products_are_in_bfloat16_where_the_processor_has_it(
    monkeypatch: pytest.MonkeyPatch,
    dtype: torch.dtype,
    n_multiplied: int,
    capable: bool,
    expected: torch.dtype,
) -> None:
    monkeypatch.setattr(cpu, "multiplies_bfloat16", lambda: capable)
    assert cpu.product_dtype(torch.zeros(1, dtype=dtype), n_multiplied) == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loss_and_gradients_are_the_same_to_the_bit_by_any_number_of_threads(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(threads, "_WORTH_IT", 0)
    monkeypatch.setattr(cpu, "product_dtype", lambda *_: dtype)
    g = torch.Generator().manual_seed(4)
    chrom_of = torch.arange(3000) // 600
    layer = {"h": (70, 5, 64), "weight": (3000, 64), "bias": (3000,)}
    x = open_peaks((torch.rand(70, 3000, generator=g) < 0.1).float())
    tensors = {name: torch.randn(shape, generator=g).requires_grad_() for name, shape in layer.items()}
    before, found = torch.get_num_threads(), []
    for n_threads in (1, 2, 5):
        torch.set_num_threads(n_threads)
        loss = peaks_nll(**tensors, chrom_of=chrom_of, x=x)
        summed = sum_of_open(tensors["weight"], x, chrom_of, 5)
        gradients = torch.autograd.grad(loss + (summed * tensors["h"]).sum(), list(tensors.values()))
        found.append([loss, summed, *gradients])
    torch.set_num_threads(before)
    for again in found[1:]:
        for a, b in zip(found[0], again, strict=True):
            assert torch.equal(a, b)
