"""What RunSAILERX() costs before Python starts, on an object of the size of a 10x multiome experiment."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.full, pytest.mark.r]

#: stands for Python: notes when it was started and how large its input is, which the file of arguments names, then ends with
#: the status in `status`
PYTHON = """#!/bin/sh
[ "$1" = -c ] && exit 0
date +%s.%N > '{folder}/started'
wc -c < "$(grep -o '[^"]*[.]h5mu' "$4" | head -1)" > '{folder}/size'
exit $(cat '{folder}/status')
"""

R = """
suppressMessages(library(sailerx))
n_cells <- 11331L; n_peaks <- 131364L; open <- 6500L
set.seed(1)
sparse <- function(features, open) {
  i <- unlist(lapply(seq_len(n_cells), function(cell) sort.int(sample.int(length(features), open), method = "quick") - 1L))
  new("dgCMatrix", i = i, p = seq(0L, by = open, length.out = n_cells + 1L), x = rep(1, length(i)),
      Dim = c(length(features), n_cells), Dimnames = list(features, paste0("cell", seq_len(n_cells))))
}
start <- seq(1000L, by = 1500L, length.out = n_peaks)
counts <- sparse(paste("chr1", start, start + 500L, sep = "-"), open)
object <- SeuratObject::CreateSeuratObject(sparse(paste0("gene", 1:2000), 300L))
object[["peaks"]] <- SeuratObject::CreateAssay5Object(counts)
rm(counts)
invisible(gc())

kilobytes <- function(field) {
  as.numeric(gsub("[^0-9]", "", grep(field, readLines("/proc/self/status"), value = TRUE)))
}
run <- function(status) {
  writeLines(status, "status")
  invisible(gc(full = TRUE))
  writeLines("5", "/proc/self/clear_refs")
  before <- kilobytes("VmRSS")
  files <- list.files(tempdir(), all.files = TRUE)
  began <- as.numeric(Sys.time())
  ended <- tryCatch(
    RunSAILERX(object, atac.assay = "peaks", python = file.path(getwd(), "python"), verbose = FALSE),
    error = function(condition) "error", interrupt = function(condition) "interrupt"
  )
  seconds <- as.numeric(readLines("started")) - began
  share <- 1024 * (kilobytes("VmHWM") - before) / as.numeric(object.size(object))
  left <- length(setdiff(list.files(tempdir(), all.files = TRUE), files))
  cat(ended, seconds, share, left, as.numeric(readLines("size")), "\\n")
}
run("1")
run("130")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc, which Linux alone has")
def test_a_large_object_is_written_fast_in_little_memory_and_leaves_no_file(
    run_r: Callable[..., str], tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text(PYTHON.format(folder=tmp_path))
    python.chmod(0o755)
    lines = [line.split() for line in run_r(R, timeout=1800).splitlines()]
    assert [line[0] for line in lines] == ["error", "interrupt"]
    for ended, seconds, share, left, size in lines:
        print(f"{ended}: {float(seconds):.1f} s, {float(share):.2f} of the object, {int(size) / 1e6:,.0f} MB")
        assert float(seconds) < 30
        assert float(share) < 0.3
        assert left == "0"
        assert int(size) > 500e6
