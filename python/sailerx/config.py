"""Settings of a run: every constant once, with its symbol in the paper, and the two presets."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_type_hints

from sailerx.errors import InputError

_Number = TypeVar("_Number", int, float)

#: names of devices to compute on; "auto" is CUDA where there is one, else the CPU
DEVICES = ("auto", "cpu", "cuda")

#: mini-batch size at which the reference implementation's sums were turned into weights per cell
_M = 200


@dataclass(frozen=True)
class Settings:
    """Settings of one run.

    Loss weights are per cell and per pair of cells, so they do not change with the mini-batch size. The values
    here are those of the ``default`` preset; `PRESETS` holds the others. None is filled in by `for_data`; "hybrid" is
    training with cells that have no RNA.
    """

    #: number of latent dimensions of z
    n_latent: int = 50
    #: width of the layer next to the peaks, per chromosome
    n_hidden: int = 64
    #: width of the layer next to the latent heads, per chromosome
    n_chrom: int = 32
    #: the encoder sees x / depth instead of x: a departure from the paper, so that depth cannot pass as the sum of the input
    input_share: bool = True
    #: the decoder starts from each peak's frequency instead of from chance: a departure that saves the first third of a run
    start_from_frequency: bool = True
    #: the encoder's first layer starts from the directions of LSI instead of at random; None = no, hybrid yes: a departure, by which
    #: cells without RNA are embedded better
    start_from_lsi: bool | None = None
    #: chromosomes and contigs with fewer peaks share one block
    min_peaks_per_chrom: int = 20
    #: treat all peaks as one block, for features without coordinates
    single_block: bool = False

    #: M, cells per mini-batch
    minibatch_size: int = 500
    #: hybrid training: cells with RNA are at least this share of each mini-batch (their share of all cells if that is more)
    paired_share: float = 0.5
    #: share of the cells of each mini-batch of which the encoder sees a random part only, while the decoder has to explain all;
    #: None = 0.1, hybrid 0.5. A departure: otherwise the network learns by heart which cell is where, and cells without RNA are
    #: embedded badly. More of it helps these and takes a little from cells with RNA
    thinned_cells: float | None = None
    #: share of their open peaks that the encoder then sees
    thinned_kept: float = 0.5
    #: share of the peaks, drawn anew in each step, from which the reconstruction term is estimated (without bias)
    peak_share: float = 0.05
    #: early stopping: share of the cells that are held out of training to watch; 0 = none, and the run goes to its end
    held_out_share: float = 0.0
    #: early stopping: epochs without a lower loss of the held-out cells after which the run ends
    patience: int = 20
    #: epochs before the KL terms enter
    warmup_epochs: int = 0
    #: epochs of the main phase; None = enough for about 2,000 mini-batches, at least 20 and at most 250
    max_epochs: int | None = None
    learning_rate: float = 3e-3
    #: "one-cycle" (cosine up and down over the run) or "exponential" (``lr_decay`` per epoch of the main phase)
    lr_schedule: Literal["one-cycle", "exponential"] = "one-cycle"
    lr_decay: float = 0.995
    weight_decay: float = 0.0
    adam_eps: float = 1e-8

    #: weight of the reconstruction term per cell (1 where the paper has 1 + lambda on both sides of a ratio); None = 1, hybrid 5:
    #: where no RNA teaches, the KL terms would press out of z what sparse ATAC says
    reconstruction: float | None = None
    #: lambda, weight of the invariance term KL[q(z|x) || q(z)]
    lambda_: float = 1.0
    #: gamma, weight of the alignment term, per pair of cells; None = 2e4, hybrid 1e5, in step with the reconstruction
    gamma: float | None = None
    #: length of one KL annealing cycle in epochs: a rises 0 -> 1 over the first half, then stays 1; 0 = always 1
    kl_cycle_epochs: float = 0.0
    #: warm-up: weight of the reconstruction term per cell *and peak*
    warmup_reconstruction: float = 1.0
    #: warm-up: weight of open peaks in the reconstruction term
    warmup_positive_weight: float = 1.0
    #: warm-up: weight of the (unweighted) alignment term
    warmup_gamma: float = 0.0
    #: quantiles (q, 1 - q) at which log(RNA depth / ATAC depth) is clipped before it becomes w; 0 = the paper's min and max
    weight_clip: float = 0.01
    #: PCA computed here as the RNA reference is scaled down by its noise, see `sailerx.reference.rna_pca`; not in the paper
    denoise_reference: bool = True
    #: leading dimensions of a named RNA reference that teach; 0 = all. Not in the paper: the last ones are mostly noise
    reference_rank: int = 30
    #: lowest w: a departure from the paper, whose cells of deepest ATAC learn nothing from RNA (w = 0)
    weight_floor: float = 0.5

    def __post_init__(self) -> None:
        """Refuse values that cannot be trained with."""
        for name, low in _LOWEST.items():
            value = getattr(self, name)
            if value is not None and not value >= low:
                raise InputError(f"`{name}` must be at least {low:g}, got {value!r}.")
        if self.lr_schedule not in ("one-cycle", "exponential"):
            raise InputError(f"`lr_schedule` must be 'one-cycle' or 'exponential', got {self.lr_schedule!r}.")
        if not 0 < self.peak_share <= 1:
            raise InputError(f"`peak_share` must be above 0 and at most 1, got {self.peak_share!r}.")
        if not 0 <= self.held_out_share < 1:
            raise InputError(f"`held_out_share` must be at least 0 and below 1, got {self.held_out_share!r}.")
        if not 0 < self.paired_share < 1:
            raise InputError(f"`paired_share` must be between 0 and 1, got {self.paired_share!r}.")
        if self.thinned_cells is not None and not 0 <= self.thinned_cells <= 1:
            raise InputError(f"`thinned_cells` must be between 0 and 1, got {self.thinned_cells!r}.")
        if not 0 < self.thinned_kept <= 1:
            raise InputError(f"`thinned_kept` must be above 0 and at most 1, got {self.thinned_kept!r}.")
        if not 0 <= self.weight_clip < 0.5:
            raise InputError(f"`weight_clip` must be in [0, 0.5), got {self.weight_clip!r}.")
        if not 0 <= self.weight_floor <= 1:
            raise InputError(f"`weight_floor` must be between 0 and 1, got {self.weight_floor!r}.")

    def for_data(self, n_steps: int, *, hybrid: bool) -> Settings:
        """These settings with what is None filled in, for epochs of so many mini-batches, with or without hybrid training."""
        filled: dict[str, Any] = {name: values[hybrid] for name, values in _OPEN.items()}
        filled["max_epochs"] = min(250, max(20, math.ceil(_STEPS / n_steps)))
        left_open = {name: value for name, value in filled.items() if getattr(self, name) is None}
        return dataclasses.replace(self, **left_open)

    @property
    def n_epochs(self) -> int:
        """Epochs of the whole run, warm-up included; known once ``max_epochs`` is."""
        return self.warmup_epochs + known(self.max_epochs)

    @property
    def thinning(self) -> tuple[float, float]:
        """Share of the cells that are thinned, and of their open peaks that stay; known as `n_epochs` is."""
        return known(self.thinned_cells), self.thinned_kept


def known(value: _Number | None) -> _Number:
    """A setting that is not None any more."""
    if value is None:
        raise ValueError("a setting is open: call for_data first")
    return value


#: what None stands for where all cells have RNA, and where some have none
_OPEN = {
    "start_from_lsi": (False, True),
    "thinned_cells": (0.1, 0.5),
    "reconstruction": (1.0, 5.0),
    "gamma": (2e4, 1e5),
}

#: mini-batches of a run whose length is not given
_STEPS = 2000

_LOWEST = {
    "n_latent": 1,
    "n_hidden": 1,
    "n_chrom": 1,
    "min_peaks_per_chrom": 0,
    "minibatch_size": 2,
    "warmup_epochs": 0,
    "max_epochs": 1,
    "learning_rate": 0,
    "lr_decay": 0,
    "weight_decay": 0,
    "adam_eps": 0,
    "reconstruction": 0,
    "lambda_": 0,
    "gamma": 0,
    "kl_cycle_epochs": 0,
    "warmup_reconstruction": 0,
    "warmup_positive_weight": 0,
    "warmup_gamma": 0,
    "reference_rank": 0,
    "patience": 1,
}

#: The reference implementation's loss of one mini-batch, divided by M = 200 throughout: the same gradient up to that
#: factor, which Adam does not see once weight decay and eps are divided by it too.
PAPER = Settings(
    input_share=False,
    start_from_frequency=False,
    start_from_lsi=False,
    minibatch_size=_M,
    thinned_cells=0.0,
    peak_share=1.0,
    warmup_epochs=10,
    max_epochs=400,
    learning_rate=1e-4,
    lr_schedule="exponential",
    lr_decay=0.995,
    weight_decay=5e-4 / _M,
    adam_eps=1e-8 / _M,
    reconstruction=20.0,
    lambda_=1.0 / _M,
    gamma=6000.0 * _M,
    kl_cycle_epochs=100.0,
    warmup_reconstruction=1.0 / _M,
    warmup_positive_weight=20.0,
    warmup_gamma=6000.0 / _M,
    weight_clip=0.0,
    denoise_reference=False,
    reference_rank=0,
    weight_floor=0.0,
)

PRESETS = {"default": Settings(), "paper": PAPER}


def option_kinds() -> dict[str, Any]:
    """The type of each option: int, float, bool, or anything else for a word."""
    hints = get_type_hints(Settings)
    return {
        name: {int | None: int, float | None: float, bool | None: bool}.get(hint, hint)
        for name, hint in hints.items()
    }


def make_settings(preset: str = "default", **options: Any) -> Settings:
    """Settings of a preset with some options changed.

    Parameters
    ----------
    preset
        ``"default"`` or ``"paper"``.
    **options
        Fields of `Settings`; ``None`` keeps the preset's value.

    Raises
    ------
    InputError
        For an unknown preset or option, or a value that cannot be used.
    """
    if preset not in PRESETS:
        raise InputError(f"`preset` must be one of {', '.join(PRESETS)}; got {preset!r}.")
    kinds = option_kinds()
    unknown = sorted(set(options) - set(kinds))
    if unknown:
        raise InputError(f"unknown option {', '.join(unknown)}. The options are: {', '.join(kinds)}.")
    given = {name: _as(kinds[name], name, value) for name, value in options.items() if value is not None}
    return dataclasses.replace(PRESETS[preset], **given)


def _as(kind: Any, name: str, value: Any) -> Any:
    """The value as the option's type: whole floats pass for integers, as R hands them over."""
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, int | float) and not isinstance(value, bool) and value == int(value):
        return int(value)
    if kind is bool and isinstance(value, bool):
        return value
    if kind not in (int, float, bool) and isinstance(value, str):
        return value
    expected = {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, "a word")
    raise InputError(f"`{name}` must be {expected}, got {value!r}.")
