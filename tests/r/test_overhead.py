"""What RunSAILERX() costs beyond the same fit from Python.

In processor seconds, its children's included: on a busy machine, elapsed ones tell of the others. benchmarks/overhead.R
measures these.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PYTHON = """
import sys, time, mudata, sailerx, torch
mudata.set_options(pull_on_update=False)
torch.set_num_threads(int(sys.argv[2]))
mdata = mudata.read(sys.argv[1])
start = time.process_time()
model = sailerx.fit(mdata, progress="none", max_epochs=10, seed=0, device="cpu")
model.embed(mdata)
print(time.process_time() - start)
"""

R = """
library(sailerx)
object <- ReadH5MU(args[1])
spent <- function() sum(proc.time()[c("user.self", "sys.self", "user.child", "sys.child")])
start <- spent()
result <- RunSAILERX(
  object, verbose = FALSE,
  max_epochs = 10, seed = 0, device = "cpu", threads = as.integer(args[2])
)
cat(spent() - start)
"""


@pytest.mark.full
@pytest.mark.r
@pytest.mark.data
def test_r_costs_at_most_a_tenth_and_ten_seconds_more(
    data_file: Callable[[str], Path], run_r: Callable[..., str]
) -> None:
    file, threads = data_file("snareseq_cortex.h5mu"), os.environ["OMP_NUM_THREADS"]
    command = [sys.executable, "-W", "ignore", "-c", PYTHON, str(file), threads]
    python = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    r = float(run_r(R, file, threads).splitlines()[-1])
    print(f"Python {python:.1f} s, R {r:.1f} s")
    assert r <= 1.1 * python + 10
