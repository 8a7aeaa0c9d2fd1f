"""Choose the device (CPU or CUDA), and estimate what fits into its memory."""

from __future__ import annotations

import torch

from sailerx.config import DEVICES
from sailerx.errors import InputError

#: share of a GPU's free memory that the open peaks may take; the rest is for network and mini-batches
_SHARE_FOR_PEAKS = 0.5
#: bytes per parameter in training: weight, gradient, two Adam moments, and bfloat16 copies for products
_PER_PARAMETER = 28
#: bytes per cell × peak of a mini-batch in the encoder: x in bfloat16
_ENCODED = 2
#: bytes per cell × reconstructed peak in the decoder: logits, gradient and loss, in bfloat16 and float32
_RECONSTRUCTED = 12
#: factor for memory that the CUDA allocator loses to fragmentation
_SLACK = 1.3


def pick_device(name: str = "auto") -> torch.device:
    """Choose the device to compute on: ``"auto"`` is CUDA if PyTorch finds it, else the CPU.

    Raises
    ------
    InputError
        If ``name`` is not ``"auto"``, ``"cpu"`` or ``"cuda"``, or is ``"cuda"`` and PyTorch finds none.
    """
    if name not in DEVICES:
        raise InputError(f"`device` must be 'auto', 'cpu' or 'cuda', got {name!r}.")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "`device` is 'cuda', but PyTorch finds no CUDA device. Use 'auto' or 'cpu', or install a CUDA build."
        )
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def memory(device: torch.device) -> tuple[int, int] | None:
    """Measure the free and total bytes of a GPU; None for the CPU, whose memory holds the data already."""
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device), total


def holds(device: torch.device, n_bytes: int) -> bool:
    """Tell whether open peaks of ``n_bytes`` fit into the device's memory beside network and mini-batches."""
    known = memory(device)
    return known is None or n_bytes <= _SHARE_FOR_PEAKS * known[0]


def out_of_memory(
    device: torch.device, n_parameters: int, n_bytes: int, n_peaks: int, peak_share: float, size: int
) -> InputError:
    """Make the error for a step that ran out of GPU memory: it names a mini-batch size that should fit.

    Parameters
    ----------
    n_parameters
        Number of parameters of the network.
    n_bytes
        Bytes of the open peaks on the device.
    n_peaks, peak_share
        Number of peaks, and the share of them that a step reconstructs.
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
        else "Take fewer peaks (the ones open in most cells)"
    )
    return InputError(
        f"a mini-batch of {size} cells × {n_peaks:,} peaks does not fit into the memory of the GPU ({total / 1e9:.1f} GB in all, "
        f"other programs included). {advice}, end other programs on it, or train with `device` 'cpu'."
    )
