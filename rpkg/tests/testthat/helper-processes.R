# R in a process of its own, which can be interrupted as a user does it.
start_child <- function(code, env = parent.frame()) {
  skip_on_os("windows")
  skip_if_not(dir.exists(system.file("Meta", package = "sailerx")), "needs the installed package")
  script <- withr::local_tempfile(fileext = ".R", .local_envir = env)
  writeLines(c(
    sprintf("library(sailerx, lib.loc = '%s')", dirname(system.file(package = "sailerx"))),
    sprintf("source('%s')", normalizePath(test_path("helper-objects.R"))),
    code
  ), script)
  child <- processx::process$new(file.path(R.home("bin"), "Rscript"), script, stdout = "|", stderr = "2>&1")
  withr::defer(child$kill_tree(), envir = env)
  child
}

wait_until <- function(condition, seconds = 60) {
  deadline <- Sys.time() + seconds
  while (!condition() && Sys.time() < deadline) Sys.sleep(0.1)
  condition()
}

# Ended processes that nobody has collected yet (state Z) do not run.
is_running <- function(pid) {
  state <- suppressWarnings(system2("ps", c("-o", "stat=", "-p", pid), stdout = TRUE))
  length(state) == 1 && !startsWith(state, "Z")
}
