"""Kill a verb at random moments, and at each time it opens, renames or removes a file; tell what it left under the final name.

``python killing.py FOLDER VERB MOMENTS`` prints one line of JSON per kill. Each verb runs in a fork of one process that has loaded
everything, so that the moments fall into its work and not into its imports.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

import sailerx
from data import TINY, TINY_FLAGS, paired, write
from sailerx.cli import main

QUIET = "--progress=none"
#: verb → its words, of which OUT is what it writes
VERBS: dict[str, list[str]] = {
    "fit": ["fit", "cells.h5mu", "-o", "OUT", "--overwrite", QUIET, *TINY_FLAGS],
    "embed": ["embed", "model", "cells.h5mu", "-o", "OUT.h5ad"],
    "impute": ["impute", "model", "cells.h5mu", "-o", "OUT.h5ad"],
    "differential": ["differential", "model", "cells.h5mu", "-o", "OUT.csv", "--group-by=cell_type", "--group1=A1"],
    "motifs": ["motifs", "cells.h5mu", "-o", "OUT.h5ad", "--matches=matches.h5ad", "--n-background=3", QUIET],
    "links": ["links", "model", "cells.h5mu", "genes.csv", "-o", "OUT.csv", "--n-background=20"],
    "transfer": ["transfer", "model", "cells.h5mu", "new.h5ad", "-o", "OUT.h5ad", "--labels=cell_type"],
    "combine": ["combine", "-o", "OUT.h5mu", "--paired", "a=cells.h5mu", "--atac-only", "b=new.h5ad"],
    "match-peaks": ["match-peaks", "new.h5ad", "cells.h5mu", "-o", "OUT.h5ad"],
    "simulate": ["simulate", "OUT.h5mu", "--n-cells=60", "--n-genes=40", "--n-peaks=50", "--n-types=3"],
}  # fmt: skip
#: what Python tells an audit hook of the file system; HDF5 writes in between
EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")
OLD = b"what was there"


def prepare(folder: Path) -> None:
    """Write what the verbs read."""
    mdata = paired(n_links=5)
    write(mdata, folder / "cells.h5mu")
    sailerx.fit(mdata, progress="none", **TINY).save(folder / "model")
    mdata["rna"].var.to_csv(folder / "genes.csv")
    new = mdata["atac"].copy()
    new.obs_names = [f"new{i}" for i in range(new.n_obs)]
    new.write_h5ad(folder / "new.h5ad")
    matches = sp.random(new.n_vars, 4, 0.3, format="csr", random_state=0)
    peaks = new.var.assign(gc=np.linspace(0.3, 0.7, new.n_vars))
    ad.AnnData(matches.sign(), obs=peaks, var=pd.DataFrame(index=list("abcd"))).write_h5ad(
        folder / "matches.h5ad"
    )


def content(path: Path) -> Any:
    """What is under a name, read by its own reader: None if there is nothing; raises if it is not whole."""
    if not path.exists():
        return None
    if path.is_file() and path.read_bytes() == OLD:
        return "old"
    if path.is_dir():
        return sorted(sailerx.load(path).vae.state_dict())  # compares the checksums of all files
    if path.suffix == ".csv":
        return list(pd.read_csv(path).shape)
    found = sailerx.read(path)["atac"] if path.suffix == ".h5mu" else ad.read_h5ad(path)
    return [
        *found.shape,
        found.obs_names[-1],
        str(np.round(0.0 if found.X is None else float(np.abs(found.X).sum()), 2)),
    ]


def kills(verb: str, moments: int) -> Iterator[dict[str, Any]]:
    """Yield what is left after each kill, without and with something under the name before."""
    words = [word for word in VERBS[verb]]
    out = Path("out") / next(word for word in words if word.startswith("OUT"))
    words = [str(out) if word.startswith("OUT") else word for word in words]
    fresh(out, before=False)
    with contextlib.redirect_stdout(sys.stderr):
        assert main(words) == 0, words
    whole = content(out)
    seconds = timed(lambda: ended(words, None))
    rng = np.random.default_rng(0)
    for before in (False, True):
        for _ in range(moments):
            fresh(out, before)
            moment = float(rng.uniform(0, 1.1 * seconds))
            killed = ended(words, moment)
            yield {
                "verb": verb,
                "before": before,
                "at": moment,
                "killed": killed,
                **judged(out, before, whole),
            }
        for event in range(1, 1000):
            fresh(out, before)
            killed = ended(words, None, event)
            yield {
                "verb": verb,
                "before": before,
                "event": event,
                "killed": killed,
                **judged(out, before, whole),
            }
            if not killed:
                break


def fresh(out: Path, before: bool) -> None:
    """Empty the folder of the result; put something under its name, which may be replaced."""
    shutil.rmtree(out.parent, ignore_errors=True)
    out.parent.mkdir()
    if before and not out.suffix:
        shutil.copytree("model", out)
    elif before:
        out.write_bytes(OLD)


def judged(out: Path, before: bool, whole: Any) -> dict[str, Any]:
    """Whether what is under the name is whole: the new, the old, or nothing where nothing was."""
    try:
        found = content(out)
    except Exception as error:
        return {"good": False, "found": repr(error)}
    old = [None] if not before else ["old"] if out.suffix else [whole]
    return {"good": found == whole or found in old, "new": found == whole, "found": str(found)[:200]}


def ended(words: list[str], moment: float | None, event: int | None = None) -> bool:
    """Run a verb in a fork, killed after some seconds or at the n-th event; whether it was killed."""
    child = os.fork()
    if not child:
        silent = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(silent, stream)
        if event is not None:
            kill_at(event)
        os._exit(main(words))
    if moment is not None:
        time.sleep(moment)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, (words, status)
    return os.WIFSIGNALED(status)


def kill_at(event: int) -> None:
    """Kill this process when it is about to do its n-th event under the folder of the result."""
    left = [event]

    def hook(name: str, arguments: tuple[Any, ...]) -> None:
        if name in EVENTS and any(
            "out" in Path(os.fsdecode(a)).parts for a in arguments[:2] if isinstance(a, str | bytes)
        ):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    if not Path("matches.h5ad").exists():
        prepare(Path())
    for found in kills(sys.argv[2], int(sys.argv[3])):
        print(json.dumps(found), flush=True)
