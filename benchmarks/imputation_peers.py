"""Impute one matrix with MAGIC or scOpen, in the environment of requirements-imputation.txt.

    python benchmarks/imputation_peers.py magic|scopen SEED X.npz OUT.npz

X is 0/1, cells × peaks (scipy's npz). OUT holds the imputed matrix, ``whole``, or for scOpen its two
factors, ``left`` (cells × k) and ``right`` (k × peaks).
"""

from __future__ import annotations

import argparse
import json
import os
import time

import numpy as np
import scipy.sparse as sp
from cost import peak_mb


def magic(x: sp.csr_matrix, seed: int) -> dict[str, np.ndarray]:
    """Run MAGIC by its authors' guide: equal depth, square root; 5 neighbours, 100 components, t = 3.

    ``solver="approximate"``, which MAGIC advises for all features of a large matrix, imputes in the space of the components; the
    exact solver took more than a quarter of an hour and 6 GB.
    """
    import magic

    depth = np.asarray(x.sum(axis=1)).ravel()
    normalised = sp.diags(np.median(depth) / depth).dot(x).sqrt()
    operator = magic.MAGIC(
        knn=5, t=3, n_pca=100, solver="approximate", random_state=seed, n_jobs=1, verbose=0
    )
    return {"whole": np.asarray(operator.fit_transform(normalised.tocsr()), dtype=np.float32)}


def scopen(x: sp.csr_matrix, seed: int) -> dict[str, np.ndarray]:
    """Run scOpen with its command line's defaults: TF-IDF, non-negative factors of rank 30, regularisation 1, at most 500 steps."""
    from scopen.Main import run_nmf, tf_idf_transform

    weighted = tf_idf_transform(x.T.tocsc().astype(float))
    peaks, cells, _ = run_nmf((weighted, 30, 1.0, 500, 0, seed, "nndsvd"))
    return {"left": cells.T.astype(np.float32), "right": peaks.T.astype(np.float32)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("method", choices=["magic", "scopen"])
    parser.add_argument("seed", type=int)
    parser.add_argument("x")
    parser.add_argument("out")
    given = parser.parse_args()
    x = sp.load_npz(given.x).tocsr().astype(np.float32)
    start = time.process_time()
    result = {"magic": magic, "scopen": scopen}[given.method](x, given.seed)
    cost = {
        "cpu_seconds": time.process_time() - start,
        "peak_mb": peak_mb(),
    }
    temporary = f"{given.out}.part.npz"
    np.savez(temporary, **result, cost=json.dumps(cost))
    os.replace(temporary, given.out)


if __name__ == "__main__":
    main()
