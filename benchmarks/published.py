"""Run the published implementation from a checkout of https://github.com/uci-cbcl/SAILERX.

Its code is unchanged. Patched from outside are `np.float` and `np.bool`, which newer NumPy lacks, and the progress bar, whose
updates mark the ends of epochs.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mudata
import numpy as np
import scipy.sparse as sp

#: epochs of the main phase in its own schedule, after 10 of warm-up
EPOCHS = 400
#: cells copied at a time when its input file is written
CELLS_AT_ONCE = 2000


def embed(mdata: mudata.MuData, g: np.ndarray, checkout: Path) -> np.ndarray:
    """Train for all epochs with the RNA reference `g` (cells × dimensions), and embed the cells."""
    with _solver(mdata, g, checkout, EPOCHS, "cpu") as (solver, _):
        solver.warm_up()
        solver.train()
        z: np.ndarray = solver.encode_latent().cpu().numpy()
        return z


def seconds_of_epochs(
    mdata: mudata.MuData, g: np.ndarray, checkout: Path, epochs: int, device: str
) -> list[float]:
    """Time each of ``epochs`` epochs of the main phase."""
    with _solver(mdata, g, checkout, epochs, device) as (solver, clock):
        clock.start()
        solver.train()
        return clock.seconds


@contextmanager
def _solver(
    mdata: mudata.MuData, g: np.ndarray, checkout: Path, epochs: int, device: str
) -> Iterator[tuple[Any, _Clock]]:
    """Yield the published trainer with its own constants, and a clock that is updated after each epoch."""
    import torch

    np.float, np.bool = float, bool  # type: ignore[attr-defined]
    sys.path.insert(0, str(checkout.resolve()))
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            _write(mdata, g, Path("data/bench.h5"))
            import trainer

            clock = _Clock()
            trainer.tqdm = lambda steps=None, **_: clock if steps is None else steps
            solver = trainer.PlTrainer(
                _arguments(epochs, None if device == "cpu" else torch.cuda.current_device())
            )
            Path("models/bench").mkdir(parents=True)
            yield solver, clock
        finally:
            os.chdir(before)


def _arguments(epochs: int, cuda_device: int | None) -> argparse.Namespace:
    """Command-line arguments of the published trainer, with its own constants."""
    return argparse.Namespace(
        name="bench",
        log="log.csv",
        load_ckpt=False,
        cuda_dev=cuda_device,
        train_type="multi",
        sample_batch=False,
        max_epoch=epochs,
        start_epoch=0,
        batch_size=200,
        start_save=10**6,
        data_type="bench",
        lr=1e-4,
        pos_w=20,
        weight_decay=5e-4,
        z_dim=50,
        out_every=10**6,
        ckpt_dir="models",
        LAMBDA=1,
        GAMMA=6000,
    )


class _Clock:
    """Stand-in for a progress bar that records when each epoch ended."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        self.moments = [time.perf_counter()]

    def update(self, _: int) -> None:
        self.moments.append(time.perf_counter())

    def write(self, _: str) -> None: ...

    def close(self) -> None: ...

    @property
    def seconds(self) -> list[float]:
        return np.diff(self.moments).tolist()


def _write(mdata: mudata.MuData, g: np.ndarray, path: Path) -> None:
    """Write its input file, `CELLS_AT_ONCE` cells at a time, because a second copy of large data would not fit into memory."""
    import h5py

    from sailerx.data.peaks import peak_table

    x: Any = mdata["atac"].X
    chrom = peak_table(mdata["atac"].var)["chrom"].to_numpy(dtype=str)
    order = np.argsort(chrom, kind="stable")
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        file["pca/data"] = g
        group = file.create_group("atac")
        data, indices = (
            group.create_dataset(name, (0,), dtype, maxshape=(None,), chunks=(2**20,))
            for name, dtype in (("data", x.dtype), ("indices", np.int32))
        )
        indptr = np.zeros(len(g) + 1, np.int64)
        for start in range(0, len(g), CELLS_AT_ONCE):
            part = sp.csr_matrix(x[start : start + CELLS_AT_ONCE])[:, order]
            part.sort_indices()
            first, last = indptr[start] + part.indptr[[0, -1]]
            for stored, values in ((data, part.data), (indices, part.indices)):
                stored.resize((last,))
                stored[first:last] = values
            indptr[start + 1 : start + 1 + part.shape[0]] = first + part.indptr[1:]
        group["indptr"] = indptr
        group.attrs["shape"] = x.shape
        group["chrom_size"] = np.unique(chrom, return_counts=True)[1]
        file["cells/labels"] = np.full(len(g), b"none")
        file["cells/rna_depth"] = _rna_depth(mdata["rna"].X)


def _rna_depth(counts: Any) -> np.ndarray:
    """Sum the RNA counts of each cell."""
    starts = range(0, counts.shape[0], CELLS_AT_ONCE)
    parts = [counts[start : start + CELLS_AT_ONCE].sum(axis=1) for start in starts]
    return np.concatenate([np.asarray(part).ravel() for part in parts])
