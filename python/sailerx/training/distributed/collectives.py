"""Sums and objects exchanged between the processes of a run, by torch.distributed."""

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

#: how long a process waits for the others within training before it gives up
STEP_TIMEOUT = timedelta(minutes=10)
#: how long for the first process to validate the data, compute PCA and so on; that it has died is noticed at once
_START_TIMEOUT = timedelta(days=7)


@functools.cache
def group_for_objects() -> Any:
    """A gloo group of all processes with a long timeout, for sending objects."""
    return dist.new_group(backend="gloo", timeout=_START_TIMEOUT)


def before_first_use() -> None:
    """Forget an earlier group, and end torch.distributed when Python exits."""
    group_for_objects.cache_clear()
    atexit.register(_destroy)


def _destroy() -> None:
    """End the threads of torch.distributed: one that needs Python while it shuts down would abort the process."""
    group_for_objects.cache_clear()
    if dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def explained_if_lost(rank: int) -> Iterator[None]:
    """Turn the error of torch.distributed when another process is gone into one that says what to do."""
    try:
        yield
    except RuntimeError as error:
        found = re.sub(r"^\[\S*\]\s*", "", str(error)).split("\n")[0].split(". ")[0]
        raise ProcessLostError(
            f"the process of rank {rank} has lost another one, which has ended, was killed or cannot be reached ({found}). What "
            "that one printed last says why. A run with a checkpoint goes on from it when it is started again."
        ) from error


def all_reduce(values: Tensor, rank: int) -> Tensor:
    """Sum values over all processes, in place, without a gradient."""
    with explained_if_lost(rank):
        dist.all_reduce(values)
    return values


class AllReduce(torch.autograd.Function):
    """Sum values over all processes, with a gradient: the sum of theirs, since each process has the whole loss.

    `torch.distributed.nn.functional.all_reduce` computes the same; here a lost process is explained in the backward pass too.
    """

    @staticmethod
    def forward(ctx: Any, own: Tensor, rank: int) -> Tensor:
        ctx.rank = rank
        return all_reduce(own.clone(memory_format=torch.contiguous_format), rank)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return all_reduce(grad_outputs[0].clone(memory_format=torch.contiguous_format), ctx.rank), None
