test_that("the commands make an environment and install into it", {
  expect_equal(make_command(list(program = "/usr/bin/python3", conda = FALSE), "/env"), c("/usr/bin/python3", "-m", "venv", "/env"))
  pip <- c("-m", "pip", "install", "--upgrade", "--disable-pip-version-check")
  expect_equal(pip_command("/env/bin/python", NULL, "/src/sailerx"), c("/env/bin/python", pip, "/src/sailerx"))
  expect_equal(pip_command("p", "pins.txt", c("--pre", "a.whl")), c("p", pip, "--constraint", "pins.txt", "--pre", "a.whl"))
})

test_that("conda makes the environment where it is asked for, or where no Python can", {
  local_no_python()
  expect_error(environment_maker("conda", NULL), "conda.*search path")
  conda <- fake_python(folder = Sys.getenv("PATH"), name = "micromamba")
  expect_equal(environment_maker("conda", NULL), list(program = conda, conda = TRUE))
  expect_equal(environment_maker("auto", NULL), list(program = conda, conda = TRUE))
  python <- fake_python(folder = Sys.getenv("PATH"), name = "python3")
  expect_equal(environment_maker("auto", NULL), list(program = python, conda = FALSE))
  expect_equal(environment_maker("conda", NULL)$conda, TRUE)
  expect_error(environment_maker("virtualenv", "/no/python"), "3.11 or newer.*conda")
  folder <- withr::local_tempdir()
  maker <- list(program = conda, conda = TRUE)
  expect_equal(make_command(maker, "/new/env")[2:5], c("create", "--yes", "--prefix", "/new/env"))
  expect_equal(make_command(maker, folder)[2], "install")
})

test_that("conda's environment gets the package", {
  local_no_python()
  writeLines("", "sailerx-0.1.0-py3-none-any.whl")
  log <- file.path(getwd(), "log")
  fake_python(folder = Sys.getenv("PATH"), name = "conda", does = c(
    "/bin/mkdir -p \"$4/bin\"",
    sprintf("printf '#!/bin/sh\\n[ \"$1\" = -c ] || echo \"$@\" >> %s\\n' > \"$4/bin/python\"", log),
    "/bin/chmod +x \"$4/bin/python\""
  ))
  expect_message(python <- install_sailerx("conda", gpu = TRUE, envdir = "env", verbose = FALSE, from = "sailerx-0.1.0-py3-none-any.whl"), "is installed")
  expect_equal(python, file.path(normalizePath("env"), "bin", "python"))
  expect_match(readLines(log), "^-m pip install --upgrade .*sailerx-0.1.0-py3-none-any.whl$", all = FALSE)
})

test_that("the CPU build of torch is asked for by its label, and its absence is no error", {
  python <- fake_python(does = c("case \"$3\" in index) echo 'torch (2.9.1)';; *) echo \"$@\"; exit 1;; esac"))
  expect_message(try_cpu_torch(python, NULL, character(), FALSE), "usual build")
  log <- withr::local_tempfile()
  python <- fake_python(does = c("case \"$3\" in index) echo 'torch (2.9.1)';; esac", sprintf("echo \"$@\" >> '%s'", log)))
  expect_no_message(try_cpu_torch(python, NULL, c("--index-url", "https://example.org"), FALSE))
  expect_match(readLines(log)[2], "--index-url https://example.org torch==2.9.1+cpu", fixed = TRUE)
  pins <- withr::local_tempfile(lines = c("numpy<3", "torch==2.8.0"))
  try_cpu_torch(python, pins, character(), FALSE)
  expect_match(readLines(log)[4], "torch==2.8.0+cpu", fixed = TRUE)
})

test_that("a GPU is looked for where the answer matters", {
  expect_true(check_gpu(TRUE))
  expect_false(check_gpu(FALSE))
  expect_error(check_gpu("yes"), "must be \"auto\", `TRUE` or `FALSE`")
  skip_on_os(c("windows", "mac"))
  local_no_python()
  expect_false(check_gpu("auto"))
  fake_python(folder = Sys.getenv("PATH"), name = "nvidia-smi", does = "echo 'GPU 0: some card'")
  expect_true(check_gpu("auto"))
})

test_that("a folder of wheels needs no index, and an index is asked for the package by name", {
  folder <- normalizePath(withr::local_tempdir())
  expect_error(install_source(folder), "folder of wheels")
  file.create(file.path(folder, "sailerx-0.1.0-py3-none-any.whl"))
  expect_equal(install_source(folder)$arguments, c("--no-index", "--find-links", folder, "sailerx"))
  expect_equal(install_source("https://example.org/simple")$arguments, c("--index-url", "https://example.org/simple", "sailerx"))
})

test_that("a real environment is made from a folder with the wheel, without a network", {
  skip_on_os("windows")
  wheel <- bundled_wheel()
  skip_if(!length(wheel), "the R package was built without its Python wheel")
  skip_if_not(makes_environments(usual_python()), "no Python 3.11 with venv on the search path")
  wheels <- withr::local_tempdir()
  file.copy(wheel, wheels)
  envdir <- file.path(withr::local_tempdir(), "env")
  suppressMessages(python <- install_sailerx("virtualenv", from = wheels, envdir = envdir, pip_args = "--no-deps", verbose = FALSE))
  expect_equal(python_state(python), "ready")
  expect_equal(find_python(envdir), python)
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
  expect_equal(install_source(root), list(kind = "source", name = root, arguments = root))
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
