"""The paper preset trains as the public reference implementation does.

``fixtures/paper_preset.json`` holds numbers computed once, in double precision, with the public code of Cao et
al. 2022 (uci-cbcl/SAILERX: its network, pairwise KL, cosine similarities, and losses of warm-up and main phase;
PyTorch's Adam with its rate and weight decay) for one mini-batch of M = 200 cells. Inputs, weights and noise are
the formulas below, so that only numbers are kept.

Its known faults:

1. It samples z with standard deviation exp(log var) although its KL terms say exp(log var / 2). Corrected on
   both sides: the numbers were computed with the reference sampling at exp(log var / 2).
2. Single entries of its pairwise KL are wrong. Not reproduced; their mean, all that its loss uses, is right.
3. Its four training loops have drifted apart, and its annealing weight a starts at 1. Not reproduced: the
   losses are those of the paired loop, at stated values of a.
4. One scalar batch value, so at most two batches. Not reproduced; here such a value is one column of c.
5. It standardises the log of open peaks by moments of another quantity. Not reproduced: c is given.
6. w hangs on the two most extreme cells. Kept in the paper preset, see test_multiome.py.
7. Nothing is seeded, imputation is never exported. Not reproduced.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch import Tensor

from data import minibatch_of
from sailerx.config import PAPER
from sailerx.data.accessibility import PeaksInMemory
from sailerx.kernels.open_peaks import SparseRows
from sailerx.minibatches.loader import OnDevice
from sailerx.network import objective
from sailerx.network.schedules import loss_weights
from sailerx.network.vae import VAE

FROZEN = Path(__file__).parent / "fixtures" / "paper_preset.json"
M, N_LATENT, N_HIDDEN, N_CHROM, N_REFERENCE = 200, 5, 8, 4, 7
BLOCKS = ((0, 13), (13, 23), (23, 30))
SETTINGS = replace(PAPER, n_latent=N_LATENT, n_hidden=N_HIDDEN, n_chrom=N_CHROM)
#: moments of a run, in epochs: the warm-up, then the main phase at a = 0.5 and at a = 1. Alignment outweighs the
#: KL terms by far on these inputs, so the last phase is without it (the reference has a switch for that).
PHASES = {"warm-up": 3.0, "main, a = 0.5": 35.0, "main, a = 1": 75.0, "main, a = 1, no alignment": 75.0}
MAIN = [phase for phase in PHASES if phase != "warm-up"]


# The inputs: formulas of the position alone


def wave(*shape: int, pace: float, shift: float = 0.0) -> Tensor:
    """sin(pace · position + shift) at every position of an array, counted row by row."""
    return torch.sin(pace * torch.arange(int(np.prod(shape)), dtype=torch.float64) + shift).reshape(shape)


def inputs() -> dict[str, Tensor]:
    """All that one mini-batch of M cells needs: x, g, c, w, and the noise of the sampling."""
    cell, peak = torch.arange(M)[:, None], torch.arange(BLOCKS[-1][1])[None, :]
    return {
        "x": ((7 * cell + 13 * peak + cell * peak) % 11 < 3).double(),
        "g": wave(M, N_REFERENCE, pace=1.3) + 0.2,
        "c": torch.cat([wave(M, 1, pace=2.1), (cell % 2).double()], dim=1),
        "w": 0.5 + 0.5 * wave(M, pace=0.9),
        "noise": 1.5 * wave(M, N_LATENT, pace=1.7, shift=0.4),
    }


def parameters(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Weights by name: waves around 0, around 1 for scales of BatchNorm, around 0.25 for slopes of PReLU."""
    centre = {"scale": 1.0, "slope": 0.25}
    return {
        name: centre.get(name.split()[-1], 0.0) + 0.2 * wave(*shape, pace=0.77, shift=float(number))
        for number, (name, shape) in enumerate(shapes.items())
    }


def digest(array: Tensor) -> list[float]:
    """Five numbers that tell arrays apart: two sums with uneven weights, the first, middle and last entry."""
    flat = array.detach().flatten().double()
    position = torch.arange(len(flat), dtype=torch.float64)
    sums = [(flat * torch.sin(position + 1)).sum(), (flat * (1 + torch.cos(0.3 * position))).sum()]
    return [float(value) for value in (*sums, flat[0], flat[len(flat) // 2], flat[-1])]


# Our network under names and shapes that do not depend on how it stacks chromosomes


def by_layer(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Views of the network's tensors, one for each plain layer (outputs × inputs) of each chromosome."""
    n_chroms = len(BLOCKS)
    views: dict[str, Tensor] = {}
    for k, (a, b) in enumerate(BLOCKS):
        at = f"encoder {k}"
        views |= {
            f"{at} peaks weight": tensors["encoder.0.weight"][a:b].T,
            f"{at} peaks bias": tensors["encoder.0.bias"][k],
        }
        views |= _normed(tensors, "encoder.1", f"{at} hidden", k, n_chroms)
        views |= {
            f"{at} inner weight": tensors["encoder.2.weight"][k].T,
            f"{at} inner bias": tensors["encoder.2.bias"][k],
        }
        views |= _normed(tensors, "encoder.3", f"{at} chrom", k, n_chroms)
    for ours, name in (("mean_head", "mean"), ("logvar_head", "logvar"), ("decoder_in", "decoder")):
        views |= {f"{name} weight": tensors[f"{ours}.weight"], f"{name} bias": tensors[f"{ours}.bias"]}
    views |= _normed(tensors, "decoder.0", "decoder", 0, 1)
    for k, (a, b) in enumerate(BLOCKS):
        at = f"decoder {k}"
        views |= {
            f"{at} inner weight": tensors["decoder.1.weight"][k].T,
            f"{at} inner bias": tensors["decoder.1.bias"][k],
        }
        views |= _normed(tensors, "decoder.2", f"{at} hidden", k, n_chroms)
        views |= {
            f"{at} peaks weight": tensors["to_peaks.weight"][a:b],
            f"{at} peaks bias": tensors["to_peaks.bias"][a:b],
        }
    return views


def _normed(tensors: dict[str, Tensor], ours: str, name: str, k: int, n_groups: int) -> dict[str, Tensor]:
    scale, shift = (tensors[f"{ours}.norm.{part}"].view(n_groups, -1)[k] for part in ("weight", "bias"))
    return {f"{name} scale": scale, f"{name} shift": shift, f"{name} slope": tensors[f"{ours}.slope"][k]}


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture(scope="module")
def frozen() -> dict[str, Any]:
    numbers: dict[str, Any] = json.loads(FROZEN.read_text(encoding="utf-8"))
    return numbers


@pytest.fixture
def vae() -> VAE:
    network = VAE(BLOCKS, 2, N_LATENT, N_HIDDEN, N_CHROM, torch.Generator().manual_seed(0))
    with torch.no_grad():
        views = by_layer(dict(network.named_parameters()))
        for name, value in parameters({name: tuple(view.shape) for name, view in views.items()}).items():
            views[name].copy_(value)
    return network.train()


@pytest.fixture
def loss_of(vae: VAE, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], tuple[Tensor, list[Tensor]]]:
    """Loss and terms of the mini-batch in one phase, with the formula's noise in place of a random draw."""
    given = inputs()
    monkeypatch.setattr(
        objective, "sample", lambda posterior, *_: posterior.mean + posterior.stddev * given["noise"]
    )
    x = SparseRows.of(PeaksInMemory.of(sp.csr_matrix(given["x"].numpy())))
    cells = OnDevice(x, given["g"], given["c"], given["w"], torch.ones(M, dtype=torch.bool))

    def loss(phase: str) -> tuple[Tensor, list[Tensor]]:
        settings = replace(SETTINGS, gamma=0.0) if phase.endswith("no alignment") else SETTINGS
        weights = loss_weights(PHASES[phase], settings, BLOCKS[-1][1])
        return objective.minibatch_loss(vae, minibatch_of(cells, torch.arange(M)), weights, torch.Generator())

    return loss


def test_every_parameter_is_compared(vae: VAE) -> None:
    tensors = dict(vae.named_parameters())
    assert sum(view.numel() for view in by_layer(tensors).values()) == sum(
        t.numel() for t in tensors.values()
    )


@pytest.mark.parametrize("phase", PHASES)
def test_loss_is_the_references_divided_by_m(phase: str, frozen: dict[str, Any], loss_of: Any) -> None:
    loss, _ = loss_of(phase)
    assert loss.item() == pytest.approx(frozen[phase]["loss"] / M, rel=1e-10)


@pytest.mark.parametrize("phase", MAIN)
def test_each_term_of_the_main_phase_is_the_references(
    phase: str, frozen: dict[str, Any], loss_of: Any
) -> None:
    _, (reconstruction, kl_prior, kl_marginal, alignment) = loss_of(phase)
    ours = [20 * M * reconstruction, M * kl_prior, kl_marginal, 6000 * M**2 * alignment]
    theirs = [frozen[phase]["terms"][name] for name in ("reconstruction", "prior", "marginal", "alignment")]
    assert [float(term) for term in ours] == pytest.approx(theirs, rel=1e-10)


@pytest.mark.parametrize("phase", PHASES)
def test_gradient_with_weight_decay_is_the_references_divided_by_m(
    phase: str, frozen: dict[str, Any], vae: VAE, loss_of: Any
) -> None:
    loss_of(phase)[0].backward()
    decayed = {
        name: M * (parameter.grad + SETTINGS.weight_decay * parameter.detach())
        for name, parameter in vae.named_parameters()
        if parameter.grad is not None
    }
    rounding = (
        3e-14 * frozen[phase]["loss"]
    )  # biases before BatchNorm have no gradient beside rounding and decay
    for name, view in by_layer(decayed).items():
        assert digest(view) == pytest.approx(frozen[phase]["gradient"][name], rel=1e-9, abs=rounding), name


def test_adam_steps_through_all_phases_end_at_the_references_weights(
    frozen: dict[str, Any], vae: VAE, loss_of: Any
) -> None:
    start = {name: view.detach().clone() for name, view in by_layer(dict(vae.named_parameters())).items()}
    optimizer = torch.optim.Adam(
        vae.parameters(), SETTINGS.learning_rate, eps=SETTINGS.adam_eps, weight_decay=SETTINGS.weight_decay
    )
    for phase in PHASES:
        optimizer.zero_grad()
        loss_of(phase)[0].backward()
        optimizer.step()
    for name, view in by_layer(dict(vae.named_parameters())).items():
        assert digest(view - start[name]) == pytest.approx(frozen["steps"][name], rel=1e-6, abs=1e-7), name
