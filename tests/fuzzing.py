"""Run every verb on mutated input and tell what came of it; a process of its own, because a crash would end the tests.

``python fuzzing.py FOLDER KIND FIRST LAST`` makes the originals in FOLDER once, and prints one line of JSON per mutant and verb.
"""

from __future__ import annotations

import contextlib
import io
import json
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

import sailerx
from data import TINY, as_flags, files_below, paired, write
from mutants import KINDS, mutant
from sailerx.cli import main
from sailerx.errors import InputError

#: one epoch without the joint embedding, which has no reader of its own
OPTIONS: dict[str, Any] = TINY | {"max_epochs": 1, "warmup_epochs": 0, "joint_embedding": False}
#: seconds of processor time that a verb may take on so few cells: more is a hang
PATIENCE = 20
#: memory that a mutant may claim beyond that of the originals, bytes
ROOM = 4 * 2**30


class HangError(BaseException):
    """A verb takes far longer than it should; no ``except Exception`` catches it."""


def originals(folder: Path) -> dict[str, Path]:
    """Valid input of each kind, with every encoding: written once."""
    paths = {".h5mu": folder / "valid.h5mu", ".h5ad": folder / "valid.h5ad", "model": folder / "valid-model"}
    if not paths["model"].exists():
        folder.mkdir(exist_ok=True)
        mdata = rich()
        write(mdata, paths[".h5mu"])
        one_matrix(mdata).write_h5ad(paths[".h5ad"])
        model = sailerx.fit(mdata, batch_key="batch", progress="none", **TINY)
        model.save(paths["model"])
    return paths


def one_matrix(mdata: Any) -> ad.AnnData:
    """Genes and peaks of the same cells in one matrix, with the columns of the ATAC."""
    r, a = mdata["rna"], mdata["atac"]
    both = ad.AnnData(
        sp.hstack([r.X, a.X], format="csr"), obs=a.obs.copy(), obsm=dict(r.obsm), uns=dict(a.uns)
    )
    both.var_names = [*r.var_names, *a.var_names]
    both.var["feature_types"] = pd.Categorical(["Gene Expression"] * r.n_vars + ["Peaks"] * a.n_vars)
    both.layers["counts"] = both.X.copy()
    both.raw = both.copy()
    return both


def rich() -> Any:
    """Simulated cells whose file has every encoding."""
    mdata = paired()
    r, a = mdata["rna"], mdata["atac"]
    r.raw = r.copy()
    r.layers["counts"] = r.X.copy()
    r.obsm["X_pca"] = np.random.default_rng(0).normal(size=(r.n_obs, 8)).astype(np.float32)
    a.obs["age"] = pd.array([1] * 59 + [None], dtype="Int64")
    a.obs["kept"] = pd.array([True] * 59 + [None], dtype="boolean")
    a.obs["note"] = [f"n{i}" for i in range(a.n_obs)]
    a.obs["batch"] = mdata.obs["batch"].to_numpy() if "batch" in mdata.obs else a.obs["batch"]
    a.obsp["near"] = sp.random(a.n_obs, a.n_obs, 0.1, format="csr", random_state=0)
    a.uns["genome"] = "toy"
    return mdata


def verbs(kind: str, valid: dict[str, Path], path: Path, out: Path) -> dict[str, Callable[[], Any]]:
    """Every verb on a mutant, in Python and on the command line."""
    data, model = (valid[".h5mu"], path) if kind == "model" else (path, valid["model"])
    flags = [*as_flags(OPTIONS), "--progress=none"]
    flags = [flag for flag in flags if not flag.startswith("--joint")] + ["--no-joint-embedding"]
    of_model: dict[str, Callable[[], Any]] = {
        "embed": lambda: sailerx.load(model).embed(data),
        "sailerx embed": lambda: command("embed", model, data, "-o", out / "e.h5ad"),
    }
    if kind == "model":
        return of_model
    return {
        "check": lambda: sailerx.check(data, batch_key="batch"),
        "fit": lambda: sailerx.fit(data, batch_key="batch", progress="none", **OPTIONS),
        "sailerx check": lambda: command("check", data),
        "sailerx fit": lambda: command("fit", data, "-o", out / "run", "--batch-key", "batch", *flags),
        "sailerx fit --backed": lambda: command("fit", data, "-o", out / "run2", "--backed", *flags),
    } | of_model


def command(*words: object) -> None:
    """Run the command line in this process; an exit status other than 0 is an error with what it printed."""
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        status = main([str(word) for word in words])
    told = [line for line in err.getvalue().splitlines() if line.startswith("sailerx: error: ")]
    if status == 2 and len(told) == 1 and "Traceback" not in err.getvalue():
        raise InputError(told[0])
    if status:
        raise RuntimeError(f"status {status}: {err.getvalue()[-2000:]}")


def outcome(run: Callable[[], Any], out: Path) -> dict[str, str]:
    """What a verb did: "done", "refused" with one clear error, or what it must not do."""
    with limited():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                run()
            found = {"came": "done"}
        except (InputError, FloatingPointError) as error:
            found = {"came": "refused" if is_clear(error) else "unclear", "text": str(error)}
        except HangError:
            found = {"came": "hung", "text": f"more than {PATIENCE} s"}
        except BaseException as error:
            found = {"came": "traceback", "text": f"{error!r} {''.join(traceback.format_exc()[-1500:])}"}
    return found | ({"came": "half-written", "text": str(left)} if (left := half_written(out, found)) else {})


def is_clear(error: Exception) -> bool:
    """Whether a message is a sentence or more, and not a page."""
    text = str(error)
    return 20 < len(text) < 1500 and text.strip().endswith((".", ")", "?"))


def half_written(out: Path, found: dict[str, str]) -> list[str]:
    """Temporary files, and results of a verb that has not ended well."""
    left = files_below(out)
    bad = [str(path) for path in left if any(part.startswith(".") for part in Path(path).parts)]
    return bad or ([] if found["came"] == "done" else [str(path) for path in left])


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Raise `HangError` after `PATIENCE` seconds of processor time, whatever else runs on the machine."""

    def stop(*_: object) -> None:
        raise HangError

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def run_all(folder: Path, kind: str, seeds: range) -> Iterator[dict[str, Any]]:
    """Yield what came of each mutant and verb."""
    import shutil

    valid = originals(folder)
    for seed in seeds:
        path = folder / f"mutant-{kind.strip('.')}-{seed}{'' if kind == 'model' else kind}"
        done = mutant(valid[kind], kind, seed, path)
        about = {"kind": kind, "seed": seed, "mutation": done}
        for verb in verbs(kind, valid, path, folder / f"out-{kind}"):
            out = folder / f"out-{kind}"
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            start = time.process_time()
            print(json.dumps(about | {"verb": verb, "came": "begun"}), flush=True)
            found = outcome(verbs(kind, valid, path, out)[verb], out)
            yield about | {"verb": verb} | found | {"cpu": round(time.process_time() - start, 2)}
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def limit_memory() -> None:
    """A mutant that claims terabytes gets a MemoryError, and does not take the machine down."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))


if __name__ == "__main__":
    folder, kind, first, last = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    assert kind in KINDS, kind
    originals(folder)
    if Path("/proc/self/statm").exists():
        limit_memory()
    for found in run_all(folder, kind, range(first, last)):
        print(json.dumps(found), flush=True)
