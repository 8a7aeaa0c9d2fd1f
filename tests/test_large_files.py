"""Files larger than memory, or with 64-bit row pointers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

import sailerx
from data import tiny_settings
from sailerx.data.multiome import Multiome
from sailerx.files.h5mu_writer import atomic_h5mu, finish_h5mu, write_anndata, write_array, write_frame
from sailerx.minibatches.loader import rows_of

pytestmark = pytest.mark.full

# Memory

RUN = """
import sys, sailerx
from cost import peak_mb
from sailerx.data import accessibility
from sailerx.data import atac_scores, multiome
from sailerx.joint import embedding
# both files fill several buffers and chunks, and exceed the samples of the joint embedding
accessibility.ONES_PER_BUFFER, accessibility._CELLS_AT_ONCE = 2**22, 2000
atac_scores._MAX_ONES = embedding._MAX_ONES = embedding._MAX_ONES_LEARNED = 3_000_000
multiome.MAX_SAMPLED = embedding.MAX_SAMPLED = 2000
sizes = {"max_epochs": 1, "n_hidden": 8, "n_chrom": 4}
model = sailerx.fit(sys.argv[1], backed=sys.argv[2] == "backed", rna_embedding="X_given", progress="none", **sizes)
model.embed(sys.argv[1])
print(peak_mb())
"""


def large_file(folder: Path, n_cells: int) -> Path:
    path = folder / f"{n_cells}.h5mu"
    sizes = {"n_genes": 50, "n_peaks": 20_000, "n_types": 3, "atac_depth": 3000}
    sailerx.simulate_to_file(path, n_cells, **sizes, seed=0, compression=None)
    with h5py.File(path, "r+") as file:
        given = np.random.default_rng(0).normal(size=(n_cells, 5)).astype(np.float32)
        file["mod/rna/obsm"].create_dataset("X_given", data=given)
        file["mod/rna/obsm/X_given"].attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    return path


def peak_memory(path: Path, how: str) -> float:
    """MB at most while the cells of a file are trained on and embedded."""
    return float(alone(RUN, path, how))


def alone(code: str, *arguments: object) -> str:
    """What the code prints, in a process of its own on one thread."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1800)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def n_open(path: Path) -> int:
    with h5py.File(path) as file:
        return len(file["mod/atac/X/indices"])


def test_memory_grows_by_four_bytes_per_open_peak_or_not_at_all(tmp_path: Path) -> None:
    few, many = large_file(tmp_path, 6_000), large_file(tmp_path, 24_000)
    assert peak_memory(many, "backed") - peak_memory(few, "backed") < 150
    four_bytes = 4 * (n_open(many) - n_open(few)) / 2**20
    assert peak_memory(many, "in memory") - peak_memory(few, "in memory") < four_bytes + 150


FIT = """
import sys
from cost import peak_mb
from sailerx.cli import main
main(["fit", sys.argv[1], "-o", sys.argv[2], "--preset", sys.argv[3], "--max-epochs", "1", "--progress", "none"])
print(peak_mb())
"""


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_fit_takes_the_memory_that_is_documented(preset: str, tmp_path: Path) -> None:
    """4 bytes per open peak, 16 per parameter, 5 × 4 per cell and peak of a mini-batch, and 0.7 GB."""
    path, run = tmp_path / "cells.h5mu", tmp_path / "run"
    sailerx.simulate_to_file(path, 1000, 500, 60_000, 5, atac_depth=3000, seed=0, compression=None)
    peak = float(alone(FIT, path, run, preset))
    model = sailerx.load(run)
    n_parameters = sum(p.numel() for p in model.vae.parameters())
    of_minibatch = 5 * model.settings.minibatch_size * 60_000 * 4
    assert 2**20 * peak < 4 * n_open(path) + 16 * n_parameters + of_minibatch + 0.7e9


# More than 2³¹ open peaks

N_PEAKS, OPEN = 25_000, 20_000
#: cells that are alike in a file; they fill one chunk of it
PATTERN = 4
REPEATS = 2**31 // (PATTERN * OPEN) + 1


def open_peaks() -> np.ndarray:
    """Those of each cell of the pattern, ascending; cells × 20,000."""
    rng = np.random.default_rng(0)
    return np.stack([np.sort(rng.choice(N_PEAKS, OPEN, replace=False)) for _ in range(PATTERN)])


def write_repeated(group: h5py.Group, name: str, values: np.ndarray) -> None:
    """One compressed chunk, stored many times."""
    shape = (len(values) * REPEATS,)
    dataset = group.create_dataset(name, shape, values.dtype, chunks=(len(values),), compression="gzip")
    dataset[: len(values)] = values
    mask, chunk = dataset.id.read_direct_chunk((0,))
    for i in range(1, REPEATS):
        dataset.id.write_direct_chunk((i * len(values),), chunk, mask)


@pytest.fixture(scope="module")
def huge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, n_cells = tmp_path_factory.mktemp("huge") / "huge.h5mu", PATTERN * REPEATS
    cells = pd.DataFrame(index=[f"cell{i}" for i in range(n_cells)])
    peaks = pd.DataFrame(index=[f"chr1:{i}-{i + 1}" for i in range(N_PEAKS)])
    genes = pd.DataFrame(index=["gene"])
    with atomic_h5mu(path) as file:
        mod = file.create_group("mod")
        for name, var in (("rna", genes), ("atac", peaks)):
            write_frame(write_anndata(mod, name, var, {}), "obs", cells)
        x = mod["atac"].create_group("X")
        x.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0"})
        x.attrs["shape"] = np.array([n_cells, N_PEAKS])
        write_repeated(x, "indices", open_peaks().astype(np.int32).ravel())
        write_repeated(x, "data", np.ones(PATTERN * OPEN, np.uint8))
        x["indptr"] = np.arange(n_cells + 1) * OPEN
        write_array(mod["rna"], "X", np.ones((n_cells, 1), np.float32))
        write_array(mod["rna/obsm"], "X_given", np.random.default_rng(0).normal(size=(n_cells, 3)))
        write_frame(file, "obs", cells)
        finish_h5mu(file, n_cells, {"rna": genes.index, "atac": peaks.index})
    return path


def test_row_positions_beyond_32_bits_are_read(huge: Path) -> None:
    data = Multiome.from_mudata(sailerx.read(huge, backed=True), tiny_settings(), rna_embedding="X_given")
    assert int(data.n_open.sum()) == int(data.depth.sum()) == data.n_cells * OPEN > 2**31
    expected = np.zeros((PATTERN, N_PEAKS))
    np.put_along_axis(expected, open_peaks(), 1, axis=1)
    last = data.n_cells - PATTERN + np.arange(PATTERN)
    np.testing.assert_array_equal(data.x[last].toarray(), expected)
    some = np.array([last[3], 1, last[0], data.n_cells // 2 // PATTERN * PATTERN + 2])
    taken = rows_of(data.x, torch.device("cpu")).take(torch.from_numpy(some)).dense()
    np.testing.assert_array_equal(taken.numpy(), expected[[3, 1, 0, 2]])
