"""Start the processes of a run on this machine, as torchrun does."""

from __future__ import annotations

import logging
import signal
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sailerx.errors import LaunchError
from sailerx.training.distributed.processes import refuse_missing_fabric

#: exit status of a process that ended because it lost another one
LOST = 3


def launch(command: Sequence[str], n_processes: int) -> None:
    """Run ``python`` with the arguments ``command`` in ``n_processes`` processes, and wait for them.

    Raises
    ------
    LaunchError
        If a process failed or was killed; the others have been terminated by then.
    """
    refuse_missing_fabric()
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=n_processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        monitor_interval=0.5,
    )
    try:
        with _silent("torch.distributed.elastic"):
            elastic_launch(config, sys.executable)(*command)
    except SignalException as stopped:
        raise KeyboardInterrupt from stopped
    except ChildFailedError as failed:
        codes = {rank: failure.exitcode for rank, failure in failed.failures.items()}
        raise _what_happened(codes) from None


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """Silence a logger and its children."""
    logger = logging.getLogger(name)
    before = logger.propagate, logger.handlers
    logger.propagate, logger.handlers = False, [logging.NullHandler()]
    try:
        yield
    finally:
        logger.propagate, logger.handlers = before


def _what_happened(codes: dict[int, int]) -> LaunchError:
    """Make the error from the exit status of each failed process by rank; negative for a signal."""
    told = [code for code in codes.values() if code > 0 and code != LOST]  # has printed its own error
    # SIGTERM is sent to the processes that outlive the failed one
    killed = {rank: -code for rank, code in codes.items() if code < 0 and -code != signal.SIGTERM}
    if told or not killed:
        return LaunchError("", min(told, default=1))
    rank, number = min(killed.items())
    why = " The operating system does that when memory runs out." if number == signal.SIGKILL else ""
    return LaunchError(
        f"the process of rank {rank} was killed ({signal.Signals(number).name}), and the run has ended with it.{why} A run with a "
        "checkpoint resumes from it when it is started again.",
        1,
    )
