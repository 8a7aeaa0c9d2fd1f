"""Time a few epochs of one method on one file, in a process of its own; print seconds per epoch and peak memory as JSON.

    python benchmarks/epochs.py METHOD DATA.h5mu N_EPOCHS [--threads 2] [--device cpu] [--reference DIR]

The time of an epoch runs from drawing its mini-batches to its last step; the first epoch, which also allocates memory and compiles
code, is not counted. Method `reference` is the published implementation, from the checkout DIR.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mudata
import numpy as np
import published
from cost import peak_mb

#: of each epoch
Seconds = list[float]


def paper(given: argparse.Namespace) -> Seconds:
    return _ours(given, preset="paper", warmup_epochs=0)


def default(given: argparse.Namespace) -> Seconds:
    return _ours(given)


def _ours(given: argparse.Namespace, **options: Any) -> Seconds:
    import sailerx

    options |= {"max_epochs": given.n_epochs, "device": given.device}
    model = sailerx.fit(given.data, progress="none", **options)
    return model.history["seconds"].to_list()


def reference(given: argparse.Namespace) -> Seconds:
    """Time the main phase of the published code, which reads its own copy of the data."""
    data = mudata.read_h5mu(given.data, backed="r")
    # a random RNA reference: its values do not change the time
    g = np.random.default_rng(0).normal(size=(data.n_obs, 50)).astype(np.float32)
    return published.seconds_of_epochs(data, g, given.reference, given.n_epochs, given.device)


def peakvi(given: argparse.Namespace) -> Seconds:
    import scvi

    data = mudata.read_h5mu(given.data)
    scvi.model.PEAKVI.setup_anndata(data["atac"])
    return _scvi(scvi.model.PEAKVI(data["atac"]), given)


def multivi(given: argparse.Namespace) -> Seconds:
    import scvi

    data = mudata.read_h5mu(given.data)
    scvi.model.MULTIVI.setup_mudata(data, modalities={"rna_layer": "rna", "atac_layer": "atac"})
    model = scvi.model.MULTIVI(data, n_genes=data["rna"].n_vars, n_regions=data["atac"].n_vars)
    return _scvi(model, given)


def _scvi(model: Any, given: argparse.Namespace) -> Seconds:
    import lightning

    class Timer(lightning.pytorch.Callback):
        def on_train_epoch_start(self, *_: Any) -> None:
            self.begun = time.perf_counter()

        def on_train_epoch_end(self, *_: Any) -> None:
            seconds.append(time.perf_counter() - self.begun)

    seconds: Seconds = []
    quiet: dict[str, Any] = {"enable_progress_bar": False, "logger": False, "early_stopping": False}
    accelerator = "cpu" if given.device == "cpu" else "gpu"
    model.train(
        max_epochs=given.n_epochs, accelerator=accelerator, train_size=1.0, callbacks=[Timer()], **quiet
    )
    return seconds


METHODS: dict[str, Callable[[argparse.Namespace], Seconds]] = {
    "paper": paper,
    "default": default,
    "reference": reference,
    "peakvi": peakvi,
    "multivi": multivi,
}
#: those of sailerx
OURS = {"paper", "default"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("data")
    parser.add_argument("n_epochs", type=int)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--reference", type=Path, help="checkout of the reference implementation")
    given = parser.parse_args()
    if given.method in OURS:
        import sailerx  # noqa: F401 (before PyTorch, whose threads it tells how to wait)
    import torch

    torch.set_num_threads(given.threads)
    mudata.set_options(pull_on_update=False)
    seconds = METHODS[given.method](given)
    answer = {
        "seconds_per_epoch": statistics.median(seconds[1:]),
        "peak_mb": peak_mb(),
        "gpu_mb": torch.cuda.max_memory_allocated() / 2**20 if given.device == "cuda" else 0.0,
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
