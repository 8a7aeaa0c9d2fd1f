info <- function(version = 1) {
  sprintf("echo '{\"versions\": {\"sailerx\": \"0.1.0\", \"torch\": \"2.9\"}, \"device\": \"cpu\", \"format_version\": %d}'", version)
}

quietly <- function(code) {
  withr::local_options(cli.width = 500)
  value <- NULL
  output <- cli::cli_fmt(value <- code)
  list(value = value, output = paste(output, collapse = "\n"))
}

test_that("versions, device and the Python in use are shown", {
  local_no_python()
  python <- fake_python(does = info())
  withr::local_envvar(SAILERX_PYTHON = python)
  answer <- quietly(sailerx_sitrep())
  expect_true(answer$value$ready)
  expect_equal(answer$value$python, python)
  expect_equal(answer$value$device, "cpu")
  expect_equal(answer$value$py[["torch"]], "2.9")
  expect_equal(answer$value$r[["sailerx"]], as.character(packageVersion("sailerx")))
  for (text in c(python, "SAILERX_PYTHON", "ready", "2.9", "cpu", "Seurat")) {
    expect_match(answer$output, text, fixed = TRUE)
  }
})

test_that("without a Python the repair is an installation", {
  local_no_python()
  answer <- quietly(sailerx_sitrep())
  expect_false(answer$value$ready)
  expect_equal(answer$value$python, NA_character_)
  expect_equal(answer$value$repair, "sailerx::install_sailerx()")
  expect_match(answer$output, "install_sailerx()", fixed = TRUE)
})

test_that("a wrong name is to be taken back first", {
  local_no_python()
  withr::local_envvar(SAILERX_PYTHON = fake_python(has = 3))
  answer <- quietly(sailerx_sitrep())
  expect_equal(answer$value$repair, c("Sys.unsetenv(\"SAILERX_PYTHON\")", "sailerx::install_sailerx()"))
  expect_match(answer$output, "lacks sailerx")
})

test_that("a sailerx that does not run shows Python's own words", {
  local_no_python()
  broken <- fake_python(does = c("echo 'ImportError: no {torch}' >&2", "exit 1"))
  answer <- quietly(sailerx_sitrep(broken))
  expect_false(answer$value$ready)
  expect_match(answer$output, "ImportError: no {torch}", fixed = TRUE)
})

test_that("another version of the exchange file is reported", {
  local_no_python()
  answer <- quietly(sailerx_sitrep(fake_python(does = info(99))))
  expect_false(answer$value$ready)
  expect_match(answer$output, "version 99")
})

test_that("the real installation is ready", {
  skip_if_no_sailerx()
  answer <- quietly(sailerx_sitrep())
  expect_true(answer$value$ready)
  expect_true(all(c("sailerx", "torch", "mudata") %in% names(answer$value$py)))
})
