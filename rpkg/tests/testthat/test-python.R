test_that("the places are searched in the documented order", {
  local_no_python()
  places <- python_places("given")
  expect_equal(places$source, c(
    "argument python", "option sailerx.python", "SAILERX_PYTHON", "RETICULATE_PYTHON", "VIRTUAL_ENV", "CONDA_PREFIX",
    ".venv of the project", "install_sailerx()", "python3 on the search path", "python on the search path"
  ))
  expect_equal(places$binding, rep(c(TRUE, FALSE), c(3, 7)))
})

test_that("argument, option and SAILERX_PYTHON come first, in this order", {
  local_no_python()
  by_argument <- fake_python()
  by_option <- fake_python()
  by_variable <- fake_python()
  withr::local_envvar(SAILERX_PYTHON = by_variable)
  expect_equal(find_python(), by_variable)
  withr::local_options(sailerx.python = by_option)
  expect_equal(find_python(), by_option)
  expect_equal(find_python(by_argument), by_argument)
})

test_that("an environment, a project's .venv and the search path are tried in turn", {
  local_no_python()
  on_path <- fake_python(folder = Sys.getenv("PATH"), name = "python3")
  expect_equal(find_python(), on_path)
  installed <- fake_python(folder = environment_folder(), name = "bin/python")
  expect_equal(find_python(), installed)
  project <- fake_python(folder = file.path(getwd(), ".venv"), name = "bin/python")
  dir.create("analysis")
  withr::local_dir("analysis")
  expect_equal(find_python(), project)
  active <- withr::local_tempdir()
  withr::local_envvar(VIRTUAL_ENV = active)
  expect_equal(find_python(), project)
  expect_equal(fake_python(folder = active, name = "bin/python"), find_python())
})

test_that("a place without sailerx is passed over unless the user named it", {
  local_no_python()
  bare <- fake_python(has = 3)
  good <- fake_python(folder = Sys.getenv("PATH"), name = "python3")
  withr::local_envvar(RETICULATE_PYTHON = bare)
  expect_equal(find_python(), good)
  withr::local_envvar(SAILERX_PYTHON = bare)
  expect_error(find_python(), "lacks sailerx", class = "sailerx_no_python")
})

test_that("a sailerx that cannot read the files of this R package is passed over, whatever its version; a newer one is not", {
  local_no_python()
  speaking <- function(version, name) {
    path <- fake_python(folder = Sys.getenv("PATH"), name = name)
    writeLines(c("#!/bin/sh", sprintf("echo %d", version)), path)
    path
  }
  old <- speaking(0, "python3")
  expect_match(python_state(old), "too old \\(reads version 0 of the exchange file, R writes 1\\)")
  new <- speaking(2, "python")
  expect_equal(find_python(), new)
  expect_error(find_python(old), "too old", class = "sailerx_no_python")
})

test_that("reticulate is told what Python needs, and only where it makes environments", {
  skip_if_not_installed("reticulate", "1.41")
  skip_if(!length(bundled_wheel()), "the R package was built without its Python wheel")
  code <- sprintf(
    "library(sailerx, lib.loc = '%s'); r <- sailerx:::declare_python(); cat(r, reticulate::py_require()$packages)",
    dirname(system.file(package = "sailerx"))
  )
  answer <- processx::run(file.path(R.home("bin"), "Rscript"), c("-e", code))
  expect_match(answer$stdout, "TRUE .*sailerx @ file://.*sailerx-.*whl")
  local_mocked_bindings(bundled_wheel = function(...) character())
  expect_false(declare_python())
})

test_that("an environment's folder stands for its Python, and a relative path is made absolute", {
  local_no_python()
  python <- fake_python(folder = "my env", name = "bin/python")
  expect_equal(find_python("my env"), python)
  expect_equal(find_python("my env/bin/python"), python)
})

test_that("no Python at all says where was looked and how to repair it", {
  local_no_python()
  expect_snapshot(find_python("/no/such/python"), error = TRUE, transform = function(line) gsub("\\S*r-sailerx", "<env>", line))
  expect_error(find_python(), "install_sailerx")
  expect_false(sailerx_available())
  expect_error(find_python(1), "one name")
})

test_that("a Python that cannot answer counts as not found", {
  local_no_python()
  expect_equal(python_state(fake_python(has = 1)), "not found")
  expect_equal(python_state(file.path(getwd(), "nothing")), "not found")
  file.create("text")
  expect_equal(python_state(file.path(getwd(), "text")), "not found")
})

test_that("braces in a path are shown as they are", {
  local_no_python()
  expect_error(find_python("/no/{x}/python"), "/no/{x}/python", fixed = TRUE)
})

test_that("Python does not inherit the library folders that R has put before the user's", {
  skip_on_os(c("windows", "mac"))
  own <- library_path_of_r()
  skip_if(own == "", "this R sets no library folders")
  withr::local_envvar(LD_LIBRARY_PATH = paste0(own, ":/opt/mine"))
  expect_equal(python_environment()[["LD_LIBRARY_PATH"]], "/opt/mine")
  withr::local_envvar(LD_LIBRARY_PATH = own)
  expect_false("LD_LIBRARY_PATH" %in% names(python_environment()))
  withr::local_envvar(LD_LIBRARY_PATH = "/opt/mine")
  expect_equal(python_environment()[["LD_LIBRARY_PATH"]], "/opt/mine")
})

test_that("a program that does not answer in time is not taken for ready", {
  expect_equal(ask("/no/such/program", "x")$status, NA_integer_)
  expect_lt(ask(fake_python(does = "exec sleep 20"), "x", timeout = 0.5)$status, 0)
})
