test_that("the commands make an environment and install into it", {
  skip_on_os("windows")
  expect_equal(install_commands("/src/sailerx", "/env", "/usr/bin/python3"), list(
    c("/usr/bin/python3", "-m", "venv", "/env"),
    c("/env/bin/python", "-m", "pip", "install", "--upgrade", "--disable-pip-version-check", "/src/sailerx")
  ))
  commands <- install_commands("a.whl", "/env", "python3", "pins.txt", c("--no-index", "--find-links=wheels"))
  expect_equal(
    commands[[2]][-(1:6)],
    c("--constraint", "pins.txt", "--no-index", "--find-links=wheels", "a.whl")
  )
})

test_that("the newest wheel of the R package comes before a source folder", {
  folder <- withr::local_tempdir()
  file.create(file.path(folder, c("sailerx-0.1.0-py3-none-any.whl", "sailerx-0.2.0-py3-none-any.whl", "torch.whl")))
  expect_equal(basename(bundled_wheel(folder))[1], "sailerx-0.2.0-py3-none-any.whl")
  expect_length(bundled_wheel(""), 0)
})

test_that("the source is looked for in the working directory and above it", {
  withr::local_dir(withr::local_tempdir())
  expect_length(source_folder(), 0)
  writeLines(c("[project]", "name = \"sailerx\""), "pyproject.toml")
  root <- normalizePath(getwd())
  dir.create("rpkg/tests", recursive = TRUE)
  withr::local_dir("rpkg/tests")
  expect_equal(source_folder(), root)
  expect_equal(install_source(root), root)
})

test_that("a source that is not there, or is something else, is refused", {
  withr::local_dir(withr::local_tempdir())
  dir.create("other")
  writeLines("name = \"other\"", "other/pyproject.toml")
  file.create("notes.txt")
  expect_snapshot(error = TRUE, {
    install_sailerx(from = "other")
    install_sailerx(from = "no.whl")
    install_sailerx(from = "notes.txt")
  })
})

test_that("Python must be new enough, and constraints a file", {
  withr::local_dir(withr::local_tempdir())
  file.create("sailerx-0.1.0-py3-none-any.whl")
  old <- fake_python(has = 3)
  wheel <- "sailerx-0.1.0-py3-none-any.whl"
  expect_error(install_sailerx(from = wheel, python = old), "3.11 or newer")
  expect_error(install_sailerx(from = wheel, python = "/no/python"), "3.11 or newer")
  expect_error(install_sailerx(from = wheel, python = fake_python(), constraints = "no.txt"), "no.txt")
})

test_that("an installation that fails shows the end of pip's words and leaves nothing", {
  withr::local_dir(withr::local_tempdir())
  file.create("sailerx-0.1.0-py3-none-any.whl")
  python <- fake_python(does = c("mkdir -p \"$3/bin\"", "printf '#!/bin/sh\\necho no space {left}; exit 1\\n' > \"$3/bin/python\"", "chmod +x \"$3/bin/python\""))
  expect_error(
    install_sailerx(from = "sailerx-0.1.0-py3-none-any.whl", envdir = "env", python = python, verbose = FALSE),
    "no space {left}", fixed = TRUE
  )
  expect_false(dir.exists("env"))
})
