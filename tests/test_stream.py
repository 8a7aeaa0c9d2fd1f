"""Writing .h5mu files row by row."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from sailerx.files import h5mu_writer

STABLE = {
    ("MuData", "0.1.0"),
    ("anndata", "0.1.0"),
    ("dict", "0.1.0"),
    ("array", "0.2.0"),
    ("string-array", "0.2.0"),
    ("categorical", "0.2.0"),
    ("dataframe", "0.2.0"),
    ("csr_matrix", "0.1.0"),
}


def test_only_the_old_stable_encodings_are_written(tmp_path: Path):
    with h5mu_writer.atomic_h5mu(tmp_path / "x.h5mu") as file:
        group = h5mu_writer.write_anndata(
            file.require_group("mod"), "rna", _frame(4), {"u": {"é": np.array(["ü"])}}
        )
        h5mu_writer.CsrWriter(group, "X", (4, 4), None).append(sp.eye(4, format="csr"))
        for parent in (file, group):
            h5mu_writer.write_frame(parent, "obs", _frame(4))
        h5mu_writer.finish_h5mu(file, 4, {"rna": _frame(4).index})
    found = set()
    with h5py.File(tmp_path / "x.h5mu") as file:
        file.visititems(
            lambda _, item: found.add(tuple(item.attrs.get(f"encoding-{k}") for k in ("type", "version")))
        )
    assert found - {(None, None)} <= STABLE


def test_csr_matrix_appended_in_parts_is_read_back(tmp_path: Path):
    pieces = [sp.random(n, 30, 0.2, "csr", np.float32, rng=n) for n in (5, 1, 7)]
    pieces.insert(1, sp.csr_matrix((2, 30), dtype=np.float32))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        writer = h5mu_writer.CsrWriter(file, "X", (15, 30), "gzip")
        for piece in pieces:
            writer.append(piece)
        read = ad.io.read_elem(file["X"])
    assert (read != sp.vstack(pieces)).nnz == 0


def test_data_frame_appended_in_parts_is_read_back(tmp_path: Path):
    frame = _frame(9)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        writer = h5mu_writer.FrameWriter(file, "obs", frame, 9)
        for start in (0, 4, 8):
            writer.append(frame.iloc[start : start + 4])
        read = ad.io.read_elem(file["obs"])
    pd.testing.assert_frame_equal(read, frame)


def test_an_error_leaves_no_file(tmp_path: Path):
    def fail() -> None:
        with h5mu_writer.atomic_h5mu(tmp_path / "x.h5mu") as file:
            file["a"] = 1
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert not list(tmp_path.iterdir())


def _frame(n: int) -> pd.DataFrame:
    kinds = pd.Categorical(["b", "a", None][:n] + ["b"] * (n - 3), ["b", "never", "a"], ordered=True)
    index = pd.Index([f"cellé{i}" for i in range(n)], dtype=object)
    return pd.DataFrame({"kind": kinds, "n": np.arange(n), "x": np.linspace(0, 1, n)}, index=index)
