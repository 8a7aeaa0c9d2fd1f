"""Where to compute, and what fits there."""

from __future__ import annotations

import torch

from sailerx.config import DEVICES
from sailerx.errors import InputError

#: of a GPU's free memory, what the open peaks may take; the rest is for network and mini-batches
_SHARE_FOR_PEAKS = 0.5
#: bytes of each parameter in training: weight, gradient, two moments, and products in half precision and their gradients
_PER_PARAMETER = 28
#: bytes of each cell × peak of a mini-batch that the encoder sees, in half precision
_ENCODED = 2
#: and of each that is reconstructed: logits, their gradient and the loss, in half and in single precision
_RECONSTRUCTED = 12
#: what a GPU's allocator loses between tensors
_SLACK = 1.3


def pick_device(name: str = "auto") -> torch.device:
    """The device to compute on: ``"auto"`` is CUDA where there is one, else the CPU.

    Raises
    ------
    InputError
        For CUDA where there is none, and for devices that are not supported.
    """
    if name not in DEVICES:
        raise InputError(f"`device` must be 'auto', 'cpu' or 'cuda', got {name!r}.")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "`device` is 'cuda', but PyTorch finds no CUDA device. Use 'auto' or 'cpu', or install a CUDA build."
        )
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def memory(device: torch.device) -> tuple[int, int] | None:
    """Free and total bytes of a GPU; None for the CPU, whose memory the data are in already."""
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device), total


def holds(device: torch.device, n_bytes: int) -> bool:
    """Whether the open peaks fit there beside network and mini-batches."""
    known = memory(device)
    return known is None or n_bytes <= _SHARE_FOR_PEAKS * known[0]


def out_of_memory(
    device: torch.device, n_parameters: int, n_bytes: int, n_peaks: int, peak_share: float, size: int
) -> InputError:
    """What to tell where a step did not fit: how many cells of a mini-batch should.

    Parameters
    ----------
    n_parameters
        Of the network.
    n_bytes
        That the open peaks take on the device.
    n_peaks, peak_share
        Peaks, and the share of them that a step reconstructs.
    size
        Cells of the mini-batch that did not fit.
    """
    known = memory(device)
    total = known[1] if known else 0
    per_cell = _SLACK * n_peaks * (_ENCODED + _RECONSTRUCTED * min(1.0, peak_share))
    fit = min(int((total - _PER_PARAMETER * n_parameters - n_bytes) / per_cell), size - 1)
    advice = (
        f"About {fit} cells would fit: set `minibatch_size` to that or less"
        if fit > 1
        else "Take fewer peaks (those that are open in more cells)"
    )
    return InputError(
        f"a mini-batch of {size} cells × {n_peaks:,} peaks does not fit into the memory of the GPU ({total / 1e9:.1f} GB in all, "
        f"other programs included). {advice}, end other programs on it, or train with `device` 'cpu'."
    )
