test_that("model options become flags by name", {
  expect_equal(command_options(list()), character())
  expect_equal(command_options(list(n_latent = 30)), "--n-latent=30")
  expect_equal(command_options(list(n.latent = 30L, preset = "paper")), c("--n-latent=30", "--preset=paper"))
  expect_equal(command_options(list(lambda_ = 0.5)), "--lambda=0.5")
  expect_equal(command_options(list(single_block = TRUE, max_epochs = NULL)), "--single-block")
  expect_equal(command_options(list(single_block = FALSE)), "--no-single-block")
  expect_equal(command_options(list(keys = c("a", "b"))), c("--keys=a", "--keys=b"))
  expect_equal(command_options(list(batch = c(kit = "v=1", genotype = "-/-"))), c("--batch=kit=v=1", "--batch=genotype=-/-"))
  expect_equal(command_options(list(batch = TRUE)), "--batch=True")
  expect_equal(command_options(list(batch = 1)), "--batch=1")
})

test_that("numbers reach Python as they are", {
  expect_equal(number_text(c(1e5, 30, -2, 0)), c("100000", "30", "-2", "0"))
  expect_equal(number_text(0.25), "0.25")
  values <- c(0.1, 1 / 3, 1e-4, pi * 1e10, 1e300, .Machine$double.eps)
  expect_identical(as.numeric(number_text(values)), values)
})

test_that("options that are unnamed, no values, or set elsewhere are refused", {
  object <- toy_object()
  expect_snapshot(error = TRUE, {
    RunSAILERX(object, atac.assay = "peaks", rna_embedding = "X_pca")
    RunSAILERX(object, atac.assay = "peaks", n_latent = list(1))
    RunSAILERX(object, atac.assay = "peaks", n_latent = NA)
    RunSAILERX(object, atac.assay = "peaks", n_latent = 1, n.latent = 2)
    command_options(list(30))
  })
})

test_that("the command holds what the user gave and no default", {
  arguments <- fit_arguments("dir", NULL, NULL, NULL, NULL, TRUE, character())
  expect_equal(arguments, c(
    "fit", "dir/input.h5mu", "-o", "dir/run", "--embed", "dir/embedding.h5ad", "--progress", "lines"
  ))
  arguments <- fit_arguments("dir", "pca", c("donor", "plate"), "mito", 7, FALSE, "--n-latent=30")
  expect_equal(arguments[-(1:6)], c(
    "--rna-embedding=X_pca", "--batch-key=donor", "--batch-key=plate", "--continuous-key=mito",
    "--seed=7", "--progress", "none", "--n-latent=30"
  ))
})

test_that("what Python prints is shown line by line and its warnings become warnings", {
  python <- fake_python(does = c("echo 'epoch 1/2: loss 3' >&2", "echo 'sailerx: warning: batch {x} has one level' >&2"))
  folder <- withr::local_tempdir()
  expect_message(
    expect_message(
      expect_warning(run_sailerx("fit", "subprocess", python, folder, TRUE), "batch {x} has one level", fixed = TRUE),
      "epoch 1/2"
    ),
    "Running sailerx"
  )
  expect_no_message(suppressWarnings(run_sailerx("fit", "subprocess", python, folder, FALSE)))
})

test_that("nothing stays of a run: no connection, no file, no supervisor but another's", {
  python <- fake_python(does = c("echo torch > \"$TMPDIR/cache\"", "echo $TMPDIR"))
  folder <- withr::local_tempdir()
  before <- list(showConnections(), list.files(tempdir()))
  run_sailerx("fit", "subprocess", python, folder, FALSE)
  expect_equal(list(showConnections(), list.files(tempdir())), before)
  skip_on_os("windows")
  other <- processx::process$new("sleep", "60", supervise = TRUE)
  withr::defer(processx::supervisor_kill())
  run_sailerx("fit", "subprocess", python, folder, FALSE)
  expect_true(supervisor_runs())
  expect_true(other$is_alive())
})

test_that("an error of Python is an error of R with the same words", {
  python <- fake_python(does = c("echo 'epoch 1' >&2", "echo 'sailerx: error: modality {rna} is empty.' >&2", "echo 'Drop it.' >&2", "exit 2"))
  folder <- withr::local_tempdir()
  error <- expect_error(
    run_sailerx("fit", "subprocess", python, folder, FALSE, c(rna = "RNA", atac = "peaks")),
    "^modality \\{rna\\} is empty\\.\nDrop it\\.", class = "sailerx_python_error"
  )
  expect_match(conditionMessage(error), "Modality 'rna' is the assay 'RNA'")
})

test_that("the traceback of Python is part of the error where it was asked for", {
  python <- fake_python(does = c(
    "echo 'Traceback (most recent call last):' >&2", "echo '  File \"a.py\", line {1}' >&2",
    "echo 'sailerx: error: no x (KeyError; run again with --traceback for where it happened)' >&2", "exit 1"
  ))
  folder <- withr::local_tempdir()
  error <- expect_error(run_sailerx("fit", "subprocess", python, folder, FALSE), "run again with traceback = TRUE", fixed = TRUE)
  expect_match(conditionMessage(error), "File \"a.py\", line {1}", fixed = TRUE)
  expect_equal(error$python_traceback, c("Traceback (most recent call last):", "  File \"a.py\", line {1}"))
})

test_that("Python's own traceback arrives", {
  skip_if_no_sailerx()
  error <- expect_error(toy_run(toy_object(), gamma = -1, traceback = TRUE), "gamma", class = "sailerx_python_error")
  expect_match(error$python_traceback[1], "Traceback")
  expect_match(error$python_traceback, "cli.py", all = FALSE)
  error <- expect_error(toy_run(toy_object(), gamma = -1), "gamma")
  expect_equal(error$python_traceback, character())
})

test_that("an interrupt of Python is an interrupt of R", {
  python <- fake_python(does = "exit 130")
  folder <- withr::local_tempdir()
  caught <- tryCatch(run_sailerx("fit", "subprocess", python, folder, FALSE), interrupt = function(condition) "interrupted")
  expect_equal(caught, "interrupted")
})

test_that("a crash of Python shows its last lines and which Python it was", {
  python <- fake_python(does = c("echo 'Traceback {most recent call last}' >&2", "kill -9 $$"))
  folder <- withr::local_tempdir()
  error <- expect_error(run_sailerx("fit", "subprocess", python, folder, FALSE), "status -9", class = "sailerx_python_error")
  expect_match(conditionMessage(error), "Traceback {most recent call last}", fixed = TRUE)
  expect_match(conditionMessage(error), "sailerx_sitrep")
})

test_that("Python runs in the working folder, where no file of the user can be imported", {
  python <- fake_python(does = "pwd")
  folder <- normalizePath(withr::local_tempdir())
  expect_message(suppressMessages(run_sailerx("fit", "subprocess", python, folder, TRUE), "rlang_message"), folder, fixed = TRUE)
})

test_that("errors of Python name the arguments as R does", {
  expect_identical(in_words_of_r("name it with `rna_embedding` (there are: none)."), "name it with `reference`.")
  expect_identical(in_words_of_r("no peak lies in region 'chr9:0-100': chr1"), "no peak lies in region 'chr9:1-100': chr1")
  expect_identical(in_words_of_r("(`batch_key`; in R `batch`) if"), "(`batch`) if")
  expect_identical(in_words_of_r("set `single_block=True` (command line: --single-block)."), "set `single_block = TRUE`.")
  expect_identical(in_words_of_r("unrecognized arguments: --nLatent2=3"), "there is no such option: `nLatent2`")
  expect_identical(
    in_words_of_r("unrecognized arguments: --epochs=0.5 (did you mean --max-epochs?)"), "there is no such option: `epochs` (did you mean `max_epochs`?)"
  )
})
