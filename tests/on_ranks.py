"""What each of the processes of tests/test_distributed.py does: on_ranks.py IN.h5mu FOLDER. Results are FOLDER/<rank>.pt."""

from __future__ import annotations

import atexit
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

import sailerx
import sailerx.api
import sailerx.training.loop
from data import TINY, Silent, minibatch_of, multiome, paired, tiny_settings, with_part
from sailerx.data import accessibility, csr_on_disk
from sailerx.data.accessibility import PeaksOnDisk
from sailerx.data.multiome import Multiome
from sailerx.joint.embedding import JointEmbedding
from sailerx.minibatches.loader import OnDevice
from sailerx.minibatches.sampler import random_peaks
from sailerx.network.objective import minibatch_loss
from sailerx.network.schedules import LossWeights
from sailerx.network.vae import VAE
from sailerx.training.distributed.processes import processes_of_run
from sailerx.training.distributed.ranks import ALONE, Ranks
from sailerx.training.early_stopping import Watch
from sailerx.training.loop import train
from sailerx.training.state import TrainingState

CPU = torch.device("cpu")
#: options of the runs that are compared
OPTIONS: dict[str, Any] = TINY | {
    "max_epochs": 4,
    "held_out_share": 0.2,
    "batch_key": "batch",
    "start_from_lsi": False,  # which the first process reads some more cells for
}
#: cells of a mini-batch: of both shards, or of one alone
ROWS = {
    "mixed": torch.randperm(60, generator=torch.Generator().manual_seed(0))[:31],
    "of one shard": torch.arange(0, 60).view(-1, 4)[::2].flatten(),
}


def hybrid() -> Multiome:
    """60 cells, of which 40 have RNA."""
    mdata = paired()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return multiome(with_part(mdata, rna=mdata["rna"][:40].copy()))


def step(data: Multiome, rows: torch.Tensor, ranks: Ranks = ALONE) -> dict[str, Any]:
    """Loss, gradient and running statistics of one step on these cells."""
    vae = VAE(data.blocks, data.c.shape[1], 5, 8, 4, torch.Generator().manual_seed(0))
    ranks.synchronise_batch_norm(vae)
    noise = torch.Generator().manual_seed(1)
    peaks = random_peaks(data.n_peaks, 0.5, noise)
    cells = OnDevice.from_multiome(data, CPU, ranks.read(data.x), ranks.shard(data.n_cells))
    weights = LossWeights(1.0, 1.0, 0.5, 0.3, 100.0, True)
    loss, terms = minibatch_loss(vae, minibatch_of(cells, rows), weights, noise, peaks, (0.5, 0.5))
    loss.backward()
    ranks.average_gradients(vae, peaks)
    watch = Watch.over(data, cells, tiny_settings(held_out_share=0.4), 0.5, 0)
    assert watch is not None
    held_out = watch.loss(vae)
    ranks.restore_batch_norm(vae)
    return {
        "loss": loss.detach(),
        "terms": torch.stack(terms),
        "gradient": {name: parameter.grad for name, parameter in vae.named_parameters()},
        "state": vae.state_dict(),
        "held_out": held_out,
    }


def steps(ranks: Ranks = ALONE) -> dict[str, Any]:
    """The same for several kinds of mini-batches."""
    kinds = {"paired": multiome(), "hybrid": hybrid()}
    return {f"{kind}, {name}": step(kinds[kind], ROWS[name], ranks) for kind in kinds for name in ROWS}


def epochs(ranks: Ranks) -> list[dict[str, torch.Tensor]]:
    """The network after each epoch."""
    runs: list[TrainingState] = []
    seen: list[dict[str, torch.Tensor]] = []

    class Kept(TrainingState):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            runs.append(self)

    class Listener(Silent):
        def update(self, epoch: int, record: Any) -> None:
            seen.append({name: tensor.clone() for name, tensor in runs[0].vae.state_dict().items()})

    sailerx.training.loop.TrainingState = Kept  # type: ignore[misc]
    train(multiome(), tiny_settings(max_epochs=3), seed=0, device=CPU, progress=Listener(), ranks=ranks)
    sailerx.training.loop.TrainingState = TrainingState  # type: ignore[misc]
    return seen


def fitted(path: str, **options: Any) -> dict[str, Any]:
    """A run's result, and the cells whose peaks were read here while it trained."""
    read: set[int] = set()
    original = PeaksOnDisk.read

    def noted(x: PeaksOnDisk, start: int = 0, end: int | None = None) -> Any:
        read.update(range(start, x.shape[0] if end is None else end))
        return original(x, start, end)

    def learned(*arguments: Any) -> JointEmbedding:
        """The first process alone reads whole samples of cells, before training."""
        joint = JointEmbedding.learn(*arguments)
        read.clear()
        return joint

    PeaksOnDisk.read = noted  # type: ignore[method-assign]
    sailerx.api.JointEmbedding = SimpleNamespace(learn=learned)  # type: ignore[misc,assignment]
    try:
        model = sailerx.fit(path, progress="none", devices=2, **(OPTIONS | options))
    finally:
        PeaksOnDisk.read = original  # type: ignore[method-assign]
        sailerx.api.JointEmbedding = JointEmbedding  # type: ignore[misc]
    about = {"history": model.history, "record": model.record, "read": read}
    return about | {"embedding": model.embed(path), "weights": model.vae.state_dict()}


def error_of(run: Callable[[], Any]) -> str:
    try:
        run()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "none"


def fail() -> None:
    raise ValueError("of the first")


def note_threads(path: Path) -> None:
    """The names of the threads that this process still has."""
    of_process = Path("/proc/self/task")
    path.write_text("".join((thread / "comm").read_text() for thread in of_process.iterdir()))


def main(path: str, folder: str) -> None:
    """Everything, in the same order in each process."""
    # what is registered first is called last
    atexit.register(note_threads, Path(folder) / f"{os.environ['RANK']}.txt")
    csr_on_disk.CELLS_PER_CHUNK = 4
    ranks = processes_of_run(CPU, 2, 1)
    found = {
        "steps": steps(ranks),
        "epochs": epochs(ranks),
        "in memory": fitted(path),
        "backed": fitted(path, backed=True),
    }
    accessibility.ONES_PER_BUFFER = 400
    found["buffers"] = fitted(path, backed=True, held_out_share=0.0)
    diverge = {"learning_rate": 1e6, "max_epochs": 60}
    found["errors"] = {
        "number": error_of(lambda: processes_of_run(CPU, 3, 1)),
        "data": error_of(lambda: sailerx.fit(paired(), devices=2)),
        "nan": error_of(lambda: fitted(path, **diverge)),
        "first": error_of(lambda: ranks.from_first(fail)),
    }
    found["made"] = ranks.from_first(lambda: np.arange(3))
    torch.save(found, Path(folder) / f"{ranks.rank}.pt")


if __name__ == "__main__":
    main(*sys.argv[1:])
