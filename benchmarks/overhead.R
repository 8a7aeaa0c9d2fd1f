# What RunSAILERX() costs beyond the same fit from Python: a line of results/overhead.csv.
#
#     Rscript benchmarks/overhead.R DATA.h5mu OUT.csv [SEED] [THREADS] [MAX_EPOCHS]
#
# Python: fit and embed, after imports and reading (benchmarks/methods.py). R: RunSAILERX() on the object as
# ReadH5MU() gives it, with writing the file, starting Python and attaching the result.
# Allowed: 10 % and 10 seconds. The embeddings must be the same.

arguments <- commandArgs(trailingOnly = TRUE)
if (length(arguments) < 2L) {
  stop("Two arguments are needed: DATA.h5mu and OUT.csv.")
}
data <- normalizePath(arguments[1])
out <- arguments[2]
seed <- if (length(arguments) > 2L) as.integer(arguments[3]) else 0L
threads <- if (length(arguments) > 3L) as.integer(arguments[4]) else 2L
max_epochs <- if (length(arguments) > 4L) as.integer(arguments[5]) # NULL: as many as the preset has
script <- normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE)))

library(sailerx)

limit_threads <- function(n) {
  names <- c("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
  do.call(Sys.setenv, stats::setNames(as.list(rep(as.character(n), 3L)), names))
}

python <- function() {
  python <- Sys.getenv("SAILERX_PYTHON", unset = "")
  if (nzchar(python)) python else stop("SAILERX_PYTHON must name the Python that both sides use.")
}

# Seconds of fit and embed, and the embedding, cells × dimensions.
fit_in_python <- function() {
  embedding <- tempfile(fileext = ".npy")
  methods <- file.path(dirname(script), "methods.py")
  epochs <- if (!is.null(max_epochs)) c("--max-epochs", max_epochs)
  status <- system2(
    python(), shQuote(c(methods, "default", seed, data, embedding, "--threads", threads, epochs))
  )
  if (status != 0L) {
    stop("The fit in Python has ended with status ", status, ".")
  }
  record <- jsonlite::read_json(sub("npy$", "json", embedding))
  list(seconds = record$seconds, embedding = read_npy(embedding))
}

# A two-dimensional float32 array in C order, as methods.py writes it.
read_npy <- function(path) {
  connection <- file(path, "rb")
  on.exit(close(connection))
  readBin(connection, "raw", 8L)
  header <- readChar(connection, readBin(connection, "integer", size = 2L, endian = "little"))
  shape <- as.integer(regmatches(header, regexec("\\((\\d+), (\\d+)\\)", header))[[1]][2:3])
  values <- readBin(connection, "numeric", prod(shape), size = 4L, endian = "little")
  matrix(values, shape[1], shape[2], byrow = TRUE)
}

fit_in_r <- function() {
  object <- ReadH5MU(data, assays = c(RNA = "rna", peaks = "atac"), verbose = FALSE)
  time <- system.time(
    object <- RunSAILERX(
      object,
      atac.assay = "peaks", rna.assay = "RNA", seed = seed, python = python(),
      threads = threads, max_epochs = max_epochs, device = "cpu"
    )
  )
  list(seconds = time[["elapsed"]], embedding = SeuratObject::Embeddings(object, reduction = "sailerx"))
}

limit_threads(threads)
in_python <- fit_in_python()
in_r <- fit_in_r()
row <- data.frame(
  data = sub("\\.h5mu$", "", basename(data)),
  cells = nrow(in_r$embedding),
  seed = seed,
  threads = threads,
  python_seconds = round(in_python$seconds, 1),
  r_seconds = round(in_r$seconds, 1),
  overhead_seconds = round(in_r$seconds - in_python$seconds, 1),
  allowed_seconds = round(0.1 * in_python$seconds + 10, 1),
  largest_difference = max(abs(unname(in_r$embedding) - in_python$embedding))
)
print(row)
rows <- if (file.exists(out)) rbind(utils::read.csv(out), row) else row
temporary <- file.path(dirname(out), paste0(".", basename(out)))
utils::write.csv(rows, temporary, row.names = FALSE, quote = FALSE)
file.rename(temporary, out) |> invisible()
