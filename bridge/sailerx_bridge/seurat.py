"""Seurat objects (.rds) to MuData and back."""

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

    Carries counts, metadata with factors, reductions with loadings and standard deviations, graphs, peak
    coordinates, genome, fragment paths and gene annotation. Peaks are counted from 0, half-open (see FORMAT.md).

    Parameters
    ----------
    path
        The .rds file.
    assays
        Assays to read, by the name of the modality they become: ``{"rna": "RNA", "atac": "peaks"}``. All by default:
        RNA becomes ``rna``, the first peak assay ``atac``, others keep their name.

    Returns
    -------
    MuData
        Cells × features; the Seurat metadata are the global ``obs``.

    Raises
    ------
    InputError
        There is no such file, or it holds no Seurat object, or lacks what was asked for.
    ImportError
        rpy2, R or the R package sailerx is missing.
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
    """Write MuData as a Seurat object into an .rds file, replacing one that is there.

    Peaks with ``chrom``, ``start`` and ``end`` become a Signac ChromatinAssay where R has Signac.

    Parameters
    ----------
    mdata
        The object; it is not changed. Counts are in ``X`` or in a layer ``counts``.
    path
        The .rds file; it appears only when it is complete.
    assays
        Modalities to write, by the name of the assay they become: ``{"RNA": "rna", "peaks": "atac"}``. All by default.

    Raises
    ------
    InputError
        The object does not fit into Seurat, such as a modality with a single cell; the message says why.
    ImportError
        rpy2, R or the R package sailerx is missing.
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
    """Read MuData with the column types of the file; mudata 0.3 alone makes integers of whole-numbered doubles."""
    with columns_left_in_place(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "invalid value encountered in cast", RuntimeWarning)
        warnings.filterwarnings("ignore", "The behavior of array concatenation", FutureWarning)
        mdata = mudata.read_h5mu(path)
        with h5py.File(path) as file:
            mdata.obs = read_elem(file["obs"]).loc[mdata.obs_names]
    return mdata


def write_h5mu(mdata: MuData, path: Path) -> None:
    """Write MuData with the marks that plain mudata leaves out: the format version, and which columns are text."""
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
    """Names of the columns that are text now, or were text in R, per axis."""
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
    """Keep mudata 0.3 from copying the columns of modalities to the top; 0.4 never does."""
    return mudata.set_options(pull_on_update=False) if hasattr(mudata, "set_options") else nullcontext()


@contextmanager
def frames_kept(mdata: MuData) -> Iterator[None]:
    """Undo what writing does to the caller's columns: text becomes categories, and mudata 0.3 changes numbers too."""
    homes = [mdata, *mdata.mod.values()]
    before = [(home.obs.copy(), home.var.copy()) for home in homes]
    try:
        yield
    finally:
        for home, (obs, var) in zip(homes, before, strict=True):
            home.obs, home.var = obs, var


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name in the same folder, moved to `path` if all goes well and removed if not."""
    handle, name = mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        yield Path(name)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
