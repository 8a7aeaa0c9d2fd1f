test_that("each term of the loss has a panel with its history", {
  skip_if_no_sailerx()
  skip_if_not_installed("ggplot2")
  plot <- LossPlotSAILERX(toy_result())
  history <- sailerx_history(toy_result())
  expect_s3_class(plot, "ggplot")
  expect_setequal(levels(plot$data$term), c("loss", "reconstruction", "KL prior", "alignment")) # lambda is 0
  expect_equal(plot$data$value[plot$data$term == "KL prior"], history$kl_prior)
  expect_no_error(ggplot2::ggplot_build(plot))
})

test_that("a reduction of another kind is refused", {
  skip_if_not_installed("ggplot2")
  expect_error(LossPlotSAILERX(toy_object(), "pca"), "made by `RunSAILERX")
})

test_that("a run without epochs has no losses to plot", {
  object <- toy_object()
  reduction <- toy_reduction(toy_cells(), "peaks", "SAILERX_")
  methods::slot(reduction, "misc") <- list(settings = list(), history = data.frame(epoch = integer()))
  object[["sailerx"]] <- reduction
  expect_error(LossPlotSAILERX(object), "had no epochs")
})
