"""Settings of a run, each with its symbol in the paper, and the two presets."""

from __future__ import annotations

import dataclasses
import math
import numbers
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_type_hints

from sailerx.errors import InputError

_Number = TypeVar("_Number", int, float)

#: names of devices to compute on; "auto" is CUDA where there is one, else the CPU
DEVICES = ("auto", "cpu", "cuda")
#: how progress is shown, see `sailerx.training.progress`
Style = Literal["auto", "bar", "lines", "none"]

#: mini-batch size of the reference implementation, by which its sums over cells become weights per cell
_M = 200


@dataclass(frozen=True)
class Settings:
    """Settings of one run.

    Loss weights are per cell or per pair of cells, so they do not depend on the mini-batch size. Defaults are the ``default``
    preset; `PRESETS` has the others. ``None`` is replaced by a value that suits the data (`for_data`); "hybrid" is training on
    cells with RNA together with cells without.
    """

    #: number of latent dimensions of z
    n_latent: int = 50
    #: how many of them, the last, are private to ATAC: outside the alignment term, with a posterior that follows from the ATAC
    #: scores (`sailerx.data.atac_scores`); None = two in five, at most 20. A departure: aligned as a whole, z is a copy of the RNA
    #: reference, and what only ATAC tells is lost
    n_private: int | None = None
    #: the embedding is the RNA reference beside the ATAC scores (`sailerx.joint`), not z. A departure: z copies the RNA reference
    #: with errors, and remembers the cells it was trained on
    joint_embedding: bool = True
    #: alpha, length of one unit of noise of the ATAC coordinates beside an RNA part of length 1, 0 = RNA alone; None = 0, 0.045, 0.09
    #: or 0.18, by held-out molecules
    atac_weight: float | None = None
    #: width of the layer next to the peaks, per chromosome
    n_hidden: int = 64
    #: width of the layer next to the latent heads, per chromosome
    n_chrom: int = 32
    #: the encoder's input is x / depth instead of x. A departure from the paper: the sum of the input then does not reveal depth
    input_share: bool = True
    #: the variance of q(z|x) stays below 1, the prior's. A departure: as exp of a linear layer, that of single cells can explode
    bounded_variance: bool = True
    #: the decoder's bias starts at the logit of each peak's frequency. A departure that saves the first third of a run
    start_from_frequency: bool = True
    #: weight decay of the decoder's last weights towards their mean over the peaks of a chromosome, per cell; 0 = none. None = as the
    #: ATAC scores tell (`sailerx.network.decoder_prior`), 0 without them. From the middle of the run on, or from its start with
    #: ``held_out_share``. A departure: else the decoder memorises the training cells
    decoder_decay: float | None = None
    #: the encoder's first layer starts from LSI loadings instead of at random; None = false, hybrid true. A departure: cells without
    #: RNA are embedded better
    start_from_lsi: bool | None = None
    #: chromosomes and contigs with fewer peaks share one block
    min_peaks_per_chrom: int = 20
    #: one block for all peaks, for features without coordinates
    single_block: bool = False

    #: M, number of cells per mini-batch
    minibatch_size: int = 500
    #: hybrid: smallest share of cells with RNA in a mini-batch (their share of all cells if that is larger)
    paired_share: float = 0.5
    #: share of the cells of each mini-batch whose open peaks are randomly thinned at the encoder's input, not in the reconstruction
    #: target; None = 0.1, hybrid 0.5. A departure: without it the network memorises the training cells, and cells without RNA are
    #: embedded badly. More thinning helps these and costs cells with RNA a little
    thinned_cells: float | None = None
    #: share of its open peaks that a thinned cell keeps
    thinned_kept: float = 0.5
    #: share of the peaks, drawn anew in each step, for an unbiased estimate of the reconstruction term
    peak_share: float = 0.05
    #: early stopping: share of the cells held out of training to monitor the loss; 0 = no early stopping
    held_out_share: float = 0.0
    #: early stopping: the run ends after this number of epochs in which the loss on the held-out cells has not fallen by a thousandth,
    #: with the network that had the lowest; None = about 300 mini-batches, at least 20 epochs
    patience: int | None = None
    #: number of epochs before the main phase, without KL terms
    warmup_epochs: int = 0
    #: number of epochs of the main phase; None = about 2,000 mini-batches, at least 20 and at most 100 epochs, or 200 if these are
    #: less than 600 mini-batches, several per epoch. 0 = no network is trained: the model embeds, and does what the joint embedding
    #: suffices for
    max_epochs: int | None = None
    #: Adam: learning rate; with "one-cycle" the peak
    learning_rate: float = 3e-3
    #: "one-cycle" (cosine up and down over the run) or "exponential" (times ``lr_decay`` per epoch of the main phase)
    lr_schedule: Literal["one-cycle", "exponential"] = "one-cycle"
    #: factor on the learning rate per epoch with "exponential"
    lr_decay: float = 0.995
    #: Adam: L2 penalty
    weight_decay: float = 0.0
    #: Adam: epsilon
    adam_eps: float = 1e-8

    #: weight of the reconstruction term, per cell (1 + lambda in the paper); None = 1, hybrid 5:
    #: without RNA, the KL terms would outweigh the information of sparse ATAC in z
    reconstruction: float | None = None
    #: lambda, weight of the invariance term KL[q(z|x) || q(z)]. A departure: 0, because its mean over pairs of cells is unbounded and
    #: can outgrow all other terms. ATAC scores are made blind to confounders, and the decoder is told the confounders
    lambda_: float = 0.0
    #: gamma, weight of the alignment term, per pair of cells; None = 2e4, hybrid 1e5 (5-fold, as ``reconstruction``)
    gamma: float | None = None
    #: length of one KL annealing cycle in epochs: the factor a rises from 0 to 1 over the first half, then stays 1; 0 = a is always 1
    #: None = the length of the run: a departure, from a start without KL terms the network learns more of sparse ATAC
    kl_cycle_epochs: float | None = None
    #: warm-up: weight of the reconstruction term, per cell *and peak*
    warmup_reconstruction: float = 1.0
    #: warm-up: weight of open peaks in the reconstruction term
    warmup_positive_weight: float = 1.0
    #: warm-up: weight of the alignment term (all w = 1)
    warmup_gamma: float = 0.0
    #: log(RNA depth / ATAC depth) is clipped at its quantiles (q, 1 - q) before it is scaled to w; 0 = no clipping, as in the paper
    weight_clip: float = 0.01
    #: components of the default RNA reference (PCA) are shrunk by their noise, see `sailerx.data.rna_pca`; not in the paper
    denoise_reference: bool = True
    #: number of leading dimensions of a named RNA embedding used as reference; 0 = all. Not in the paper: the last are mostly noise
    reference_rank: int = 30
    #: lowest w. A departure: in the paper it is 0, so cells with the deepest ATAC learn nothing from RNA
    weight_floor: float = 0.5

    def __post_init__(self) -> None:
        """Raise `InputError` for values out of range."""
        for name, low in _LOWEST.items():
            value = getattr(self, name)
            if value is not None and not value >= low:
                raise InputError(f"`{name}` must be at least {low:g}, got {value!r}.")
        if self.max_epochs == 0 and not self.joint_embedding:
            raise InputError(
                "`max_epochs` must be at least 1 if the embedding is z, as with the paper's preset, got 0. Train the network, or use "
                "the joint embedding."
            )
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
        if self.n_private is not None and self.n_private >= self.n_latent:
            raise InputError(f"`n_private` must be below `n_latent`, {self.n_latent}, got {self.n_private}.")
        if not 0 < self.thinned_kept <= 1:
            raise InputError(f"`thinned_kept` must be above 0 and at most 1, got {self.thinned_kept!r}.")
        if not 0 <= self.weight_clip < 0.5:
            raise InputError(f"`weight_clip` must be in [0, 0.5), got {self.weight_clip!r}.")
        if not 0 <= self.weight_floor <= 1:
            raise InputError(f"`weight_floor` must be between 0 and 1, got {self.weight_floor!r}.")

    def for_data(self, n_steps: int, *, hybrid: bool) -> Settings:
        """Replace each ``None`` by the value for the data.

        Parameters
        ----------
        n_steps
            Number of mini-batches per epoch.
        hybrid
            Whether some cells lack RNA.
        """
        defaults: dict[str, Any] = {name: values[hybrid] for name, values in _DEFAULTS.items()}
        defaults["max_epochs"] = min(_most_epochs(n_steps), max(20, math.ceil(_STEPS / n_steps)))
        defaults["patience"] = max(20, math.ceil(_PATIENCE / n_steps))
        missing = {name: value for name, value in defaults.items() if getattr(self, name) is None}
        return dataclasses.replace(self, **missing)

    @property
    def private(self) -> int:
        """Number of private dimensions of z; none without the scores of the joint embedding, from which they follow."""
        if not self.joint_embedding:
            return 0
        return min(20, 2 * self.n_latent // 5) if self.n_private is None else self.n_private

    @property
    def n_epochs(self) -> int:
        """Number of epochs of the whole run, warm-up included; needs `for_data` if ``max_epochs`` is None."""
        return self.warmup_epochs + known(self.max_epochs)

    @property
    def thinning(self) -> tuple[float, float]:
        """(cell_share, peak_share) of `sailerx.minibatches.sampler.thinned`; needs `for_data` if ``thinned_cells`` is None."""
        return known(self.thinned_cells), self.thinned_kept


def known(value: _Number | None) -> _Number:
    """Return a setting that `for_data` has made sure is not None; raise `ValueError` otherwise."""
    if value is None:
        raise ValueError("a setting is None: call for_data first")
    return value


#: field → value that replaces None: (all cells have RNA, hybrid)
_DEFAULTS = {
    "start_from_lsi": (False, True),
    "thinned_cells": (0.1, 0.5),
    "reconstruction": (1.0, 5.0),
    "gamma": (2e4, 1e5),
}

#: number of mini-batches of a run with ``max_epochs`` = None, and largest number of epochs
_STEPS, _MOST_EPOCHS = 2000, 100
#: number of mini-batches for which epochs may be twice as many: fewer teach too little of types that are rare
_FEWEST_STEPS = 600
#: number of mini-batches of ``patience`` = None: at its highest learning rate, a run on SNARE-seq has gone 200 without a lower loss,
#: and then found lower ones
_PATIENCE = 300

#: field → smallest valid value
_LOWEST = {
    "n_latent": 1,
    "n_private": 0,
    "atac_weight": 0,
    "decoder_decay": 0,
    "n_hidden": 1,
    "n_chrom": 1,
    "min_peaks_per_chrom": 0,
    "minibatch_size": 2,
    "warmup_epochs": 0,
    "max_epochs": 0,
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

#: The reference implementation's loss of one mini-batch divided by M = 200. Its gradient is 1/200 of the original; with weight
#: decay and epsilon divided by 200 too, Adam's steps are equal.
PAPER = Settings(
    n_private=0,
    joint_embedding=False,
    input_share=False,
    bounded_variance=False,
    start_from_frequency=False,
    decoder_decay=0.0,
    start_from_lsi=False,
    minibatch_size=_M,
    thinned_cells=0.0,
    peak_share=1.0,
    held_out_share=0.0,
    patience=20,
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

#: name → settings
PRESETS = {"default": Settings(), "paper": PAPER}


def option_kinds() -> dict[str, Any]:
    """Return the type of each field of `Settings`: int, float, bool, or another type for text."""
    hints = get_type_hints(Settings)
    return {
        name: {int | None: int, float | None: float, bool | None: bool}.get(hint, hint)
        for name, hint in hints.items()
    }


def _most_epochs(n_steps: int) -> int:
    """Limit the epochs of n mini-batches each: what a run that visits each cell more often learns last is noise of these cells."""
    if n_steps == 1:  # some hundred cells
        return _MOST_EPOCHS
    return max(_MOST_EPOCHS, min(2 * _MOST_EPOCHS, math.ceil(_FEWEST_STEPS / n_steps)))


def make_settings(preset: str = "default", **options: Any) -> Settings:
    """Make the settings of a preset with options changed.

    Parameters
    ----------
    preset
        ``"default"`` or ``"paper"``.
    **options
        Fields of `Settings` and their values; ``None`` keeps the preset's value.

    Raises
    ------
    InputError
        For an unknown preset or option, or a value of the wrong type or out of range.
    """
    if preset not in PRESETS:
        raise InputError(f"`preset` must be one of {', '.join(PRESETS)}; got {preset!r}.")
    kinds = option_kinds()
    unknown = sorted(set(options) - set(kinds))
    if unknown:
        raise InputError(f"unknown option {', '.join(unknown)}. The options are: {', '.join(kinds)}.")
    given = {name: _as(kinds[name], name, value) for name, value in options.items() if value is not None}
    return dataclasses.replace(PRESETS[preset], **given)


def checked_number(name: str, value: Any, least: int) -> int:
    """Return a whole number as an int.

    Raises
    ------
    InputError
        If it is not whole, or less than ``least``.
    """
    number: int = _as(int, name, value)
    if number < least:
        raise InputError(f"`{name}` must be at least {least}, got {value!r}.")
    return number


def checked_seed(seed: Any) -> int:
    """Return a seed as an int.

    Raises
    ------
    InputError
        If it is not a whole number from 0 to 2³² - 1.
    """
    number = _as(int, "seed", seed)
    if not 0 <= number < 2**32:
        raise InputError(f"`seed` must be from 0 to 4294967295, got {seed!r}.")
    return int(number)


def _as(kind: Any, name: str, value: Any) -> Any:
    """Convert a value to the option's type; whole floats pass for integers, because R passes numbers as floats."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)  # NumPy's numbers too
    if kind is float and is_number:
        return float(value)
    if kind is int and is_number and abs(value) < 2**63 and value == int(value):
        return int(value)
    if kind is bool and isinstance(value, bool):
        return value
    if kind not in (int, float, bool) and isinstance(value, str):
        return value
    expected = {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, "a word")
    raise InputError(f"`{name}` must be {expected}, got {value!r}.")
