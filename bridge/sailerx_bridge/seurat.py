"""Convert Seurat objects (.rds) to MuData and back."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory, mkstemp

import h5py
import mudata
import pandas as pd
from anndata import AnnData
from anndata.io import read_elem, write_elem
from mudata import MuData

from sailerx.data.contract import format_schema
from sailerx.errors import InputError
from sailerx_bridge.session import r_function


def read_seurat(path: str | Path, *, assays: Mapping[str, str] | None = None) -> MuData:
    """Read a Seurat object from an .rds file as MuData.

    Converts counts, metadata with factors, reductions with loadings and standard deviations, graphs, peak coordinates
    (to 0-based, half-open), genome, fragment paths and gene annotation (see FORMAT.md).

    Parameters
    ----------
    path
        The .rds file.
    assays
        Name of the modality → assay to read: ``{"rna": "RNA", "atac": "peaks"}``. By default all assays: RNA becomes
        ``rna``, the first peak assay ``atac``, others keep their name.

    Returns
    -------
    MuData
        Modalities, cells × features; the Seurat metadata are the global ``obs``.

    Raises
    ------
    InputError
        If the file does not exist, holds no Seurat object, or lacks an assay of ``assays``.
    ImportError
        If rpy2, R or the R package sailerx is missing.
    """
    if not Path(path).is_file():
        raise InputError(
            f"`path` must be an .rds file with a Seurat object: there is no file {path}. Check the path."
        )
    with TemporaryDirectory() as folder:
        file = Path(folder) / "object.h5mu"
        r_function("rds_to_h5mu")(path, file, None if assays is None else dict(assays))
        return read_h5mu(file)


def write_seurat(mdata: MuData, path: str | Path, *, assays: Mapping[str, str] | None = None) -> None:
    """Write MuData as a Seurat object to an .rds file; an existing file is replaced.

    Peaks with ``chrom``, ``start`` and ``end`` become a Signac ChromatinAssay where R has Signac.

    Parameters
    ----------
    mdata
        The object, which is not modified. Counts are in ``X`` or in a layer ``counts``.
    path
        The .rds file; it appears under its name once it is complete.
    assays
        Name of the assay → modality to write: ``{"RNA": "rna", "peaks": "atac"}``. By default all modalities.

    Raises
    ------
    InputError
        If the folder of ``path`` does not exist, or Seurat cannot hold the object, for example a modality with a single cell.
    ImportError
        If rpy2, R or the R package sailerx is missing.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(
            f"`path` must lie in a folder that exists: there is no {path.parent}. Create it first."
        )
    convert = r_function("h5mu_to_rds")
    with TemporaryDirectory() as folder, replacing(path) as target:
        file = Path(folder) / "object.h5mu"
        write_h5mu(mdata, file)
        convert(file, target, None if assays is None else dict(assays))


def read_h5mu(path: Path) -> MuData:
    """Read MuData with the column types stored in the file; mudata 0.3 itself converts whole-numbered doubles to integers."""
    with columns_left_in_place(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "invalid value encountered in cast", RuntimeWarning)
        warnings.filterwarnings("ignore", "The behavior of array concatenation", FutureWarning)
        mdata = mudata.read_h5mu(path)
        with h5py.File(path) as file:
            mdata.obs = read_elem(file["obs"]).loc[mdata.obs_names]
    return mdata


def write_h5mu(mdata: MuData, path: Path) -> None:
    """Write MuData, and add what mudata does not write: the format version, and the list of text columns."""
    mdata = mdata.copy() if mdata.is_view else mdata
    text = {"uns": text_columns(mdata, ("obs",))}
    text |= {f"mod/{name}/uns": text_columns(adata, ("obs", "var")) for name, adata in mdata.mod.items()}
    with columns_left_in_place(), frames_kept(mdata):
        mdata.write(path)
    schema = format_schema()
    with h5py.File(path, "r+") as file:
        file.attrs[schema["x-version-attribute"]] = schema["x-version"]
        for place, columns in text.items():
            notes = file.require_group(f"{place}/seurat/columns")
            for key, names in columns.items():
                if names or key not in notes:
                    write_elem(notes, key, pd.Index(names, dtype=object).to_numpy())


def text_columns(home: AnnData | MuData, axes: tuple[str, ...]) -> dict[str, list[str]]:
    """List the columns that are text, or were text in R, for each axis (``obs``, ``var``)."""
    noted = home.uns.get("seurat", {}).get("columns", {})
    return {
        f"{axis}_character": [
            name
            for name, column in getattr(home, axis).items()
            if pd.api.types.is_string_dtype(column.dtype)
            and not isinstance(column.dtype, pd.CategoricalDtype)
            or name in list(noted.get(f"{axis}_character", []))
        ]
        for axis in axes
    }


def columns_left_in_place() -> AbstractContextManager[object]:
    """Prevent mudata 0.3 from copying the modalities' columns into the global obs and var; 0.4 does not."""
    return mudata.set_options(pull_on_update=False) if hasattr(mudata, "set_options") else nullcontext()


@contextmanager
def frames_kept(mdata: MuData) -> Iterator[None]:
    """Restore obs and var after writing, which converts text to categories, and in mudata 0.3 numbers too."""
    homes = [mdata, *mdata.mod.values()]
    before = [(home.obs.copy(), home.var.copy()) for home in homes]
    try:
        yield
    finally:
        for home, (obs, var) in zip(homes, before, strict=True):
            home.obs, home.var = obs, var


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file in the same folder; rename it to ``path`` if the ``with`` body succeeds, remove it otherwise."""
    handle, name = mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        yield Path(name)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
