#' Plot the losses of a run
#'
#' One panel per term of the loss, over the epochs. All should be flat at the end
#' of the run; if `alignment` still falls, run [RunSAILERX()] with more
#' `max_epochs`.
#'
#' @inheritParams sailerx_history
#' @returns A `ggplot` object.
#' @seealso [sailerx_history()] for the numbers.
#' @examplesIf sailerx_available() && requireNamespace("ggplot2", quietly = TRUE)
#' set.seed(1)
#' cells <- paste0("cell", 1:60)
#' counts <- function(features) {
#'   values <- matrix(rpois(length(features) * 60, 1), ncol = 60, dimnames = list(features, cells))
#'   as(values, "CsparseMatrix")
#' }
#' start <- seq(1000, by = 2000, length.out = 90)
#' object <- SeuratObject::CreateSeuratObject(counts(paste0("gene", 1:80)))
#' peaks <- paste("chr1", start, start + 500, sep = "-")
#' object[["peaks"]] <- SeuratObject::CreateAssay5Object(counts(peaks))
#' object <- RunSAILERX(object, n_latent = 5, max_epochs = 3, verbose = FALSE)
#' LossPlotSAILERX(object)
#' @export
LossPlotSAILERX <- function(object, reduction = "sailerx") {
  rlang::check_installed("ggplot2", "to plot.")
  history <- sailerx_history(object, reduction)
  if (!NROW(history)) {
    cli::cli_abort("There are no losses to plot: the run of {.val {reduction}} had no epochs. Run {.fn RunSAILERX} with {.arg max_epochs} above 0.")
  }
  terms <- intersect(c("loss", "reconstruction", "kl_prior", "kl_marginal", "alignment", "held_out"), names(history))
  titles <- gsub("_", " ", sub("^kl", "KL", terms))
  long <- data.frame(
    epoch = rep(history$epoch + 1, length(terms)),
    value = unlist(history[terms], use.names = FALSE),
    term = factor(rep(titles, each = nrow(history)), titles)
  )
  ggplot2::ggplot(long, ggplot2::aes(x = .data$epoch, y = .data$value)) +
    ggplot2::geom_line(colour = "#0072B2") +
    ggplot2::facet_wrap(ggplot2::vars(.data$term), scales = "free_y") +
    ggplot2::labs(y = NULL) +
    ggplot2::theme_classic() +
    ggplot2::theme(strip.background = ggplot2::element_blank(), strip.text = ggplot2::element_text(hjust = 0))
}
