"""Training from a file larger than memory, read in chunks, against training from memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import mudata
import numpy as np
import pytest
import scipy.sparse as sp
import torch

import sailerx
from data import TINY, TINY_FLAGS, dense, multiome, paired, together, with_atac, with_part, write
from sailerx import InputError
from sailerx.cli import main
from sailerx.data import accessibility, csr_on_disk
from sailerx.data.accessibility import PeaksOnDisk
from sailerx.data.csr_on_disk import CsrOnDisk
from sailerx.data.multiome import Multiome
from sailerx.minibatches.sampler import Sampler
from sailerx.minibatches.streaming import FileRows, read_ahead
from sailerx.training.checkpoint import fingerprint

CPU = torch.device("cpu")


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several buffers of several blocks in 60 cells."""
    monkeypatch.setattr(csr_on_disk, "CELLS_PER_CHUNK", 4)
    monkeypatch.setattr(accessibility, "ONES_PER_BUFFER", 400)


def hybrid() -> mudata.MuData:
    """60 cells, of which 40 have RNA."""
    mdata = paired()
    return with_part(mdata, rna=mdata["rna"][:40].copy())


def shuffled_peaks() -> mudata.MuData:
    """Peaks in another order than the blocks'."""
    mdata = paired()
    return with_part(mdata, atac=mdata["atac"][:, np.random.default_rng(0).permutation(90)].copy())


def loose() -> mudata.MuData:
    """Indices that are not sorted, entries that occur twice and stored zeros."""
    mdata = paired()
    x = sp.csr_matrix(mdata["atac"].X)
    both = sp.csr_matrix(
        (
            np.concatenate([np.r_[x.data[a:b][::-1], x.data[a:b], 0] for a, b in rows(x)]),
            np.concatenate([np.r_[x.indices[a:b][::-1], x.indices[a:b], 0] for a, b in rows(x)]),
            x.indptr * 2 + np.arange(61),
        ),
        shape=x.shape,
    )
    part = ad.AnnData(both, mdata["atac"].obs.copy(), mdata["atac"].var.copy())
    return with_part(mdata, atac=part)


def rows(x: sp.csr_matrix) -> list[tuple[int, int]]:
    return list(zip(x.indptr[:-1].tolist(), x.indptr[1:].tolist(), strict=True))


def in_layer() -> mudata.MuData:
    """Counts in a layer beside a normalised X."""
    mdata = paired()
    old = mdata["atac"]
    part = ad.AnnData(sp.csr_matrix(old.X * 0.5), old.obs.copy(), old.var.copy(), layers={"counts": old.X})
    return with_part(mdata, atac=part)


def both(mdata: mudata.MuData, folder: Path, **arguments: Any) -> tuple[Multiome, Multiome]:
    """Training data in memory and from a file."""
    path = write(mdata, folder / "in.h5mu")
    return tuple(multiome(sailerx.read(path, backed=b), **arguments) for b in (False, True))  # type: ignore[return-value]


def fit(path: Path, **options: Any) -> sailerx.Model:
    return sailerx.fit(path, **({"backed": True, "progress": "none"} | TINY | options))


# The data


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.filterwarnings("ignore:20 of 60 cells of 'atac' have no 'rna'")
@pytest.mark.parametrize("make", [paired, hybrid, shuffled_peaks, loose, in_layer])
def test_data_from_a_file_equal_data_in_memory(make: Callable[[], mudata.MuData], tmp_path: Path) -> None:
    here, there = both(make(), tmp_path, batch_key=["batch"])
    assert isinstance(there.x, PeaksOnDisk)
    for part in ("depth", "n_open", "frequency", "g", "w", "c", "has_rna", "rna_depth"):
        np.testing.assert_array_equal(getattr(here, part), getattr(there, part))
    assert here.blocks == there.blocks
    assert here.barcodes.equals(there.barcodes)
    assert here.peaks.equals(there.peaks)
    order = np.random.default_rng(1).permutation(60)
    np.testing.assert_array_equal(dense(here.x)[order], there.x[order].toarray())
    taken = FileRows(there.x, CPU).take(torch.from_numpy(order)).dense()
    np.testing.assert_array_equal(taken.numpy(), dense(here.x)[order])


@pytest.mark.usefixtures("small_chunks")
def test_named_reference_and_depth_column_are_read(tmp_path: Path) -> None:
    mdata = paired()
    mdata["rna"].obsm["X_given"] = np.random.default_rng(0).normal(size=(60, 7)) + 1
    given = {"X_given": mdata["rna"].obsm["X_given"]}
    without = with_part(mdata, rna=ad.AnnData(obs=mdata["rna"].obs.copy(), obsm=given))
    without["rna"].obs["nCount_RNA"] = mdata["rna"].X.sum(axis=1).A1
    for name, data in {"counts": mdata, "column": without}.items():
        here, there = both(data, tmp_path / name, rna_embedding="X_given")
        np.testing.assert_array_equal(here.g, there.g)
        np.testing.assert_array_equal(here.w, there.w)


def test_confounders_are_read_from_the_global_obs(tmp_path: Path) -> None:
    mdata = paired()
    mdata.obs["plate"] = np.resize(["p1", "p2", "p3"], 60)
    here, there = both(mdata, tmp_path, batch_key=["plate"])
    np.testing.assert_array_equal(here.c, there.c)


def test_row_pointers_beyond_31_bits_are_read(tmp_path: Path) -> None:
    n = 2**31 + 5
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for name, dtype in (("data", np.float32), ("indices", np.int32)):  # never written: takes no room
            file.create_dataset(name, (n + 3,), dtype, chunks=(2**20,))
            file[name][n:] = [1, 4, 6]
        x = CsrOnDisk(file, np.array([0, n, n + 2, n + 3]), (3, 10))
        last = PeaksOnDisk(x, True, np.array([n, 2, 1]), np.ones(10), np.arange(10, dtype=np.int32)).read(
            1, 3
        )
    np.testing.assert_array_equal(last.indices, [1, 4, 6])
    np.testing.assert_array_equal(last.indptr, [0, 2, 3])


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda x: x * 0.5, "X of modality 'atac' holds values that are not whole numbers"),
        (lambda x: -x, "negative values"),
        (lambda x: np.where(np.arange(60)[:, None] == 57, np.nan, x), "missing or infinite values"),
        (lambda x: np.where(np.arange(60)[:, None] == 57, 0, x), "at least one open peak: 1 of 60 have none"),
    ],
)
def test_what_is_refused_in_memory_is_refused_from_a_file(spoil: Any, found: str, tmp_path: Path) -> None:
    mdata = paired()
    path = write(with_atac(mdata, spoil(mdata["atac"].X.toarray())), tmp_path / "bad.h5mu")
    for backed in (False, True):
        with pytest.raises(InputError, match=found):
            fit(path, backed=backed)


def test_csc_counts_are_refused_for_training_but_embedded(tmp_path: Path) -> None:
    mdata = paired()
    part = ad.AnnData(sp.csc_matrix(mdata["atac"].X), mdata["atac"].obs.copy(), mdata["atac"].var.copy())
    path = write(with_part(mdata, atac=part), tmp_path / "in.h5mu")
    with pytest.raises(
        InputError, match=r"stored by cell \(CSR\), but X .* by peak \(CSC\).*Convert it once"
    ):
        fit(path)
    model = fit(path, backed=False)
    np.testing.assert_array_equal(model.embed(path), model.embed(mdata))


def test_data_in_memory_cannot_be_backed() -> None:
    with pytest.raises(InputError, match="`backed` needs the path of an .h5mu file as data, got MuData"):
        sailerx.fit(paired(), backed=True)


# The order of cells


@pytest.mark.parametrize("n_buffers", [1, 2, 5])
def test_epoch_in_buffers_draws_no_cell_twice(n_buffers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csr_on_disk, "CELLS_PER_CHUNK", 4)
    sampler = Sampler.of(torch.ones(103, dtype=torch.bool), 10, 0.5, n_buffers=n_buffers)
    generator, seen = torch.Generator().manual_seed(0), set()
    for _ in range(8):
        epoch = torch.cat(list(sampler.epoch(generator)))
        assert len(epoch) == len(epoch.unique()) == 100
        seen |= set(epoch.tolist())
    assert seen == set(range(103))


def test_cells_of_a_chunk_are_in_one_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csr_on_disk, "CELLS_PER_CHUNK", 4)
    sampler = Sampler.of(torch.ones(80, dtype=torch.bool), 10, 0.5, n_buffers=4)
    generator, together = torch.Generator().manual_seed(0), []
    for _ in range(2):
        buffers = torch.cat(list(sampler.epoch(generator))).view(4, 20).div(4, rounding_mode="floor")
        assert all(len(buffer.unique()) == 5 for buffer in buffers)
        together.append({frozenset(buffer.tolist()) for buffer in buffers})
    assert together[0] != together[1]


@pytest.mark.usefixtures("small_chunks")
def test_hybrid_epoch_in_several_buffers_draws_every_cell() -> None:
    has_rna = torch.arange(60) < 40
    sampler = Sampler.of(has_rna, 10, 0.5, n_buffers=3)
    batches = list(sampler.epoch(torch.Generator().manual_seed(0)))
    assert set(torch.cat(batches).tolist()) == set(range(60))
    assert {int(has_rna[batch].sum()) for batch in batches} == {sampler.sizes[0]}


@pytest.mark.usefixtures("small_chunks")
def test_chunks_are_read_once_in_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, read = both(paired(), tmp_path)[1], []
    original = PeaksOnDisk.chunk
    monkeypatch.setattr(PeaksOnDisk, "chunk", lambda x, i: (read.append(i), original(x, i))[1])
    assert data.n_buffers > 2
    sampler = Sampler.of(torch.ones(60, dtype=torch.bool), 7, 0.5, n_buffers=data.n_buffers)
    batches = list(sampler.epoch(torch.Generator().manual_seed(0)))
    for rows, x in zip(batches, FileRows(data.x, CPU).minibatches(batches), strict=True):
        np.testing.assert_array_equal(x.dense().numpy(), data.x[rows.numpy()].toarray())
    del read[:]
    list(FileRows(data.x, CPU).minibatches(batches))
    assert len(read) <= 1.2 * len(set(read))


def test_read_ahead_yields_items_and_raises_errors() -> None:
    assert list(read_ahead(iter(range(1, 9)))) == list(range(1, 9))
    with pytest.raises(OSError, match="disk"):
        list(read_ahead(int(n) for n in FailingFile()))


class FailingFile:
    def __iter__(self) -> Any:
        yield 1
        raise OSError("disk")


# The run


@pytest.mark.filterwarnings("ignore:20 of 60 cells of 'atac' have no 'rna'")
@pytest.mark.parametrize("make", [paired, hybrid])
def test_run_in_one_buffer_is_the_run_in_memory(make: Callable[[], mudata.MuData], tmp_path: Path) -> None:
    path = write(make(), tmp_path / "in.h5mu")
    stopping = {"held_out_share": 0.25, "batch_key": "batch"}
    here, there = fit(path, backed=False, **stopping), fit(path, **stopping)
    np.testing.assert_array_equal(here.embed(sailerx.read(path)), there.embed(path))
    assert here.history["held_out"].equals(there.history["held_out"])
    assert (here.record["backed"], there.record["backed"]) == (False, True)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.filterwarnings("ignore:20 of 60 cells of 'atac' have no 'rna'")
@pytest.mark.parametrize("make", [paired, hybrid])
def test_runs_in_several_buffers_are_bit_identical(make: Callable[[], mudata.MuData], tmp_path: Path) -> None:
    path = write(make(), tmp_path / "in.h5mu")
    first, second, other = (fit(path, seed=seed).posterior(path)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, fit(path, backed=False).posterior(path)[0])


@pytest.mark.usefixtures("small_chunks")
def test_stopped_run_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    path, state = write(paired(), tmp_path / "in.h5mu"), tmp_path / "state"
    first = fit(path, checkpoint=state)
    np.testing.assert_array_equal(first.embed(path), fit(path, checkpoint=state).embed(path))
    with pytest.raises(InputError, match="must be a checkpoint of this run"):
        fit(path, checkpoint=state, backed=False)


def test_checkpoint_recognises_data_in_memory_and_in_a_file(tmp_path: Path) -> None:
    from data import tiny_settings

    here, there = both(shuffled_peaks(), tmp_path)
    assert fingerprint(here, tiny_settings(), 0) == fingerprint(there, tiny_settings(), 0)


@pytest.mark.usefixtures("small_chunks")
def test_embedding_from_a_file_matches_peaks(tmp_path: Path) -> None:
    model = fit(write(paired(), tmp_path / "in.h5mu"))
    other = shuffled_peaks()["atac"]
    part = together(atac=other[:, :80].copy())
    path = write(part, tmp_path / "part.h5mu")
    part["atac"].write_h5ad(tmp_path / "part.h5ad")
    with pytest.warns(UserWarning, match="10 of the model's 90 peaks are not in the data"):
        expected = model.embed(part)
    for file in (path, tmp_path / "part.h5ad"):
        with pytest.warns(UserWarning, match="10 of the model's 90 peaks are not in the data"):
            np.testing.assert_allclose(model.embed(file), expected, rtol=1e-4, atol=1e-5)
    mean, std = model.posterior(tmp_path / "in.h5mu")
    assert mean.shape == std.shape == (60, 5)


@pytest.mark.usefixtures("small_chunks")
def test_command_trains_from_the_file(tmp_path: Path) -> None:
    path = write(paired(), tmp_path / "in.h5mu")
    command = ["fit", str(path), "-o", str(tmp_path / "run"), "--backed", "--progress", "none", *TINY_FLAGS]
    assert main([*command, "--embed", str(tmp_path / "out.h5ad")]) == 0
    found = ad.read_h5ad(tmp_path / "out.h5ad").obsm["X_sailerx"]
    np.testing.assert_array_equal(found, fit(path).embed(path))
    assert main(["check", str(path), "--backed"]) == 0
    assert sailerx.check(path, backed=True) == sailerx.check(path)


@pytest.mark.usefixtures("small_chunks")
def test_every_verb_takes_a_path_and_closes_the_file(tmp_path: Path) -> None:
    mdata = paired()
    mdata["atac"].obs["group"] = ["a", "b"] * 30
    path, alone = write(mdata, tmp_path / "in.h5mu"), tmp_path / "atac.h5ad"
    mdata["atac"].write_h5ad(alone)
    model = fit(path)
    sailerx.check(path, backed=True)
    here = model.differential_accessibility(mdata, "group", "a", "b")
    for file in (path, alone):
        np.testing.assert_allclose(model.impute(file).X, model.impute(mdata).X, rtol=1e-4)
        there = model.differential_accessibility(file, "group", "a", "b")
        np.testing.assert_allclose(there["probability"], here["probability"].loc[there.index], rtol=1e-4)
        np.testing.assert_allclose(model.to_anndata(file).obsm["X_sailerx"], model.embed(file), rtol=1e-6)
        h5py.File(file, "r+").close()  # refused while the file is open anywhere


def test_csc_counts_are_read_into_memory(tmp_path: Path) -> None:
    mdata = paired()
    model = fit(write(mdata, tmp_path / "in.h5mu"))
    expected = {".h5mu": model.embed(mdata), ".h5ad": model.embed(mdata["atac"])}
    for stored in (mdata["atac"].X.tocsc(), mdata["atac"].X.toarray()):
        mdata["atac"].X = stored
        mdata["atac"].write_h5ad(tmp_path / "atac.h5ad")
        for file in (write(mdata, tmp_path / "other.h5mu"), tmp_path / "atac.h5ad"):
            np.testing.assert_allclose(model.embed(file), expected[file.suffix], rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(model.impute(file).X, model.impute(mdata).X, rtol=1e-4)
