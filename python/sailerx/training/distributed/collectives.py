"""Communication between the processes of a run, by torch.distributed: all-reduce, and errors when a process is lost."""

from __future__ import annotations

import atexit
import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from sailerx.errors import ProcessLostError

#: longest wait for the other processes within training
STEP_TIMEOUT = timedelta(minutes=10)
#: longest wait for the first process to validate the data and compute PCA; its death is noticed at once
_START_TIMEOUT = timedelta(days=7)


@functools.cache
def group_for_objects() -> Any:
    """Make the gloo group with a long timeout through which Python objects are broadcast."""
    return dist.new_group(backend="gloo", timeout=_START_TIMEOUT)


def before_first_use() -> None:
    """Forget the gloo group of an earlier run, and shut torch.distributed down when Python exits."""
    group_for_objects.cache_clear()
    atexit.register(_destroy)


def _destroy() -> None:
    """Shut torch.distributed down: a thread of it that needed the GIL at interpreter exit would abort the process."""
    group_for_objects.cache_clear()
    if dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def explained_if_lost(rank: int) -> Iterator[None]:
    """Turn the error that torch.distributed raises when another process has ended into one that says what to do."""
    try:
        yield
    except RuntimeError as error:
        found = re.sub(r"^\[\S*\]\s*", "", str(error)).split("\n")[0].split(". ")[0]
        raise ProcessLostError(
            f"the process of rank {rank} has lost another one, which has ended, was killed or cannot be reached ({found}). The "
            "last lines printed by that process say why. A run with a checkpoint resumes from it when it is started again."
        ) from error


def all_reduce(values: Tensor, rank: int) -> Tensor:
    """Sum values over all processes, in place, without autograd."""
    with explained_if_lost(rank):
        dist.all_reduce(values)
    return values


class AllReduce(torch.autograd.Function):
    """All-reduce (sum) with autograd: gradients are summed over processes too, because each computes the whole loss.

    `torch.distributed.nn.functional.all_reduce` gives equal results, but does not explain a lost process in the backward pass.
    """

    @staticmethod
    def forward(ctx: Any, own: Tensor, rank: int) -> Tensor:
        ctx.rank = rank
        return all_reduce(own.clone(memory_format=torch.contiguous_format), rank)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return all_reduce(grad_outputs[0].clone(memory_format=torch.contiguous_format), ctx.rank), None
