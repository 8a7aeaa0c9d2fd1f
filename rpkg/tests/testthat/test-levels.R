test_that("a level has one text whatever the type of its column", {
  expect_identical(level_text(c(1, 2.5, NA, 100000)), c("1", "2.5", NA, "100000"))
  expect_identical(level_text(3:1), c("3", "2", "1"))
  expect_identical(level_text(c(TRUE, NA, FALSE)), c("True", NA, "False"))
  expect_identical(level_text(factor(c("b", "a"))), c("b", "a"))
  expect_identical(level_text(c(0.1 + 0.2, 1e-4, 1e-5, 1e16)), c("0.30000000000000004", "0.0001", "1e-05", "1e+16"))
})

test_that("batches are factors with levels in the order of their values", {
  expect_identical(level_factor(c(10, 2, 10)), factor(c("10", "2", "10"), c("2", "10")))
  expect_identical(level_factor(factor("b", c("z", "b"))), factor("b", c("z", "b")))
  frame <- with_factors(data.frame(lane = c(2, 1), mito = c(0.5, 1)), "lane")
  expect_identical(frame$lane, factor(c("2", "1")))
  expect_identical(frame$mito, c(0.5, 1))
})

test_that("levels and columns that look like options reach Python as they are", {
  skip_if_no_sailerx()
  object <- toy_object()
  object[["--kit"]] <- rep(c("-/-", "v=1"), 30)
  kept <- toy_run(object, batch = "--kit", keep = withr::local_tempfile())
  for (batch in list("-/-", "v=1", c(`--kit` = "v=1"))) {
    found <- toy_verb(ImputeSAILERX, kept, features = rownames(object[["peaks"]])[1:3], batch = batch, group.by = "--kit")
    expect_identical(colnames(found), c("-/-", "v=1"))
  }
})
