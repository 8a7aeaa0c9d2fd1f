"""Compare ways to read mini-batches of ATAC from disk: cells per second of one shuffled epoch, without training.

    python benchmarks/readers.py --sizes 50000x200000 --annbatch-python PYTHON --out readers.csv
    python benchmarks/readers.py --table readers.csv

sailerx reads chunks of consecutive cells from an .h5mu file or a .zarr folder (format 3, sharded). annbatch, which needs Python 3.12
and a shuffled copy of the data, reads with its defaults from that copy (PYTHON has ``annbatch[zarrs]`` and torch; without PYTHON,
it is left out).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import pandas as pd
from backed import RNA, reading, sizes
from pages import markdown, parse
from speed import simulated

HERE = Path(__file__).resolve().parent
#: values per chunk, which are compressed together, and chunks per shard, a file
CHUNK, CHUNKS_PER_SHARD = 2**18, 64
TITLES = {
    "h5mu": "**sailerx**, .h5mu",
    "zarr": "**sailerx**, .zarr (format 3, sharded)",
    "annbatch": "annbatch, its own shuffled copy",
}
#: reads one epoch with annbatch; arguments: AnnData in a .zarr folder, folder of the collection, cells per mini-batch
ANNBATCH = """
import json, sys, time, warnings
warnings.filterwarnings("ignore")
import anndata, zarr
from pathlib import Path
from annbatch import DatasetCollection, Loader
zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"})
source, folder, size = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
of_group = lambda group: anndata.AnnData(X=anndata.io.sparse_dataset(group["X"]))
def only_x(path):
    return of_group(zarr.open_group(path, mode="r"))

if not folder.exists():
    start = time.perf_counter()
    DatasetCollection(folder).add_adatas([source], load_adata=only_x, shuffle=True)
    print(f"shuffled copy: {time.perf_counter() - start:.0f} s", file=sys.stderr)
loader = Loader(batch_size=size, chunk_size=32, preload_nchunks=256, shuffle=True, to="torch")
loader.use_collection(DatasetCollection(folder), load_adata=of_group)
start = time.perf_counter()
n_cells = sum(batch["X"].shape[0] for batch in loader)
print(json.dumps({"reading_cells_per_second": n_cells / (time.perf_counter() - start)}))
"""


def sharded_copy(path: Path) -> Path:
    """Copy an .h5mu file to a .zarr folder of format 3, unless that is done."""
    import zarr

    out = path.with_suffix(".zarr")
    if not out.exists():
        part = out.with_name(f".{out.name}")
        with h5py.File(path) as file:
            _copy(file, zarr.open_group(str(part), mode="w", zarr_format=3))
        part.rename(out)
    return out


def _copy(source: h5py.Group, target: Any) -> None:
    target.attrs.update({name: _plain(value) for name, value in source.attrs.items()})
    for name in list(source):  # not items(), which holds h5py's lock while zarr's threads work
        node = source[name]
        if isinstance(node, h5py.Group):
            _copy(node, target.create_group(name))
            continue
        text = h5py.check_string_dtype(node.dtype) is not None
        length = node.shape[0] if node.ndim == 1 else 0
        large = length > CHUNK and not text
        layout = {"chunks": (CHUNK,), "shards": (CHUNK * CHUNKS_PER_SHARD,)} if large else {}
        array = target.create_array(name, shape=node.shape, dtype=str if text else node.dtype, **layout)
        array.attrs.update({key: _plain(value) for key, value in node.attrs.items()})
        step = CHUNK * CHUNKS_PER_SHARD
        for start in range(0, length, step) if large else []:
            array[start : start + step] = node[start : start + step]
        if not large:
            array[...] = node.asstr()[...] if text else node[...]


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def measured(way: str, path: Path, given: argparse.Namespace) -> dict[str, float]:
    """Read one epoch in a process of its own."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, str(given.threads))
    command = [sys.executable, __file__, "--one", str(sharded_copy(path) if way == "zarr" else path)]
    if way == "annbatch":
        source, folder = sharded_copy(path) / "mod" / "atac", path.with_suffix(".annbatch")
        command = [given.annbatch_python, "-c", ANNBATCH, str(source), str(folder), str(given.minibatch)]
    answer = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return found


def table(path: Path) -> str:
    """Format the CSV as a Markdown table: medians over rounds."""
    rows = pd.read_csv(path)
    lines = [
        ["cells × peaks", "open peaks per cell", "reader", "cells per second"],
        ["---:", "---:", "---", "---:"],
    ]
    for (cells, peaks, n_open, way), of in rows.groupby(["cells", "peaks", "open_peaks", "way"], sort=False):
        median = of["reading_cells_per_second"].median()
        lines.append([f"{cells:,} × {peaks:,}", f"{n_open / cells:,.0f}", TITLES[way], f"{median:,.0f}"])
    return markdown(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", default=["50000x200000"], metavar="CELLSxPEAKS")
    parser.add_argument("--density", type=float, default=0.0175, help="molecules per cell and peak")
    parser.add_argument("--minibatch", type=int, default=512, help="cells per mini-batch of annbatch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--annbatch-python", metavar="PYTHON", help="has annbatch[zarrs] and torch")
    parser.add_argument("--work", type=Path, default=HERE / "results" / "work" / "backed")
    parser.add_argument("--out", type=Path, metavar="OUT.csv")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    given = parse(parser, table)
    if given.one:
        print(json.dumps(reading(given.one, float("inf"))))
        return
    if not given.out:
        parser.error("--out is needed, or --table")
    rows: list[dict[str, Any]] = []
    for size in given.sizes:
        path = simulated(size, given.density, given.work, **RNA)
        about = sizes(path) | {"threads": given.threads}
        for turn in range(given.rounds):
            for way in TITLES:
                if way == "annbatch" and not given.annbatch_python:
                    continue
                rows.append(about | {"way": way, "round": turn} | measured(way, path, given))
                print(rows[-1], file=sys.stderr, flush=True)
                pd.DataFrame(rows).to_csv(given.out, index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
