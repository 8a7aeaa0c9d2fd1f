# What an object has and the exchange file has no place for: WriteH5MU() names it, so that nothing is lost unseen.

# What Seurat and Signac keep in `misc` for themselves, and what WriteH5MU() stores in other places.
OTHER_MISC <- c("h5mu", "calcN", "vst", "vst.set", "total.variance", "d", "u", "v", "iter", "mprod")

say_what_is_not_stored <- function(object, assays, reductions) {
  parts <- c(
    unlist(lapply(assays, function(name) not_stored_of_assay(object[[name]], name))),
    unlist(lapply(reductions, function(name) not_stored_of_reduction(object[[name]], name))),
    not_stored_of_object(object)
  )
  if (length(parts)) {
    cli::cli_inform(c(i = "The file has no place for {.emph {unname(parts)}}: keep the object too, for example with {.fn saveRDS}."))
  }
}

not_stored_of_assay <- function(assay, name) {
  slots <- c(motifs = "motifs", links = "links", positionEnrichment = "position enrichment", SCTModel.list = "SCT models")
  found <- slots[vapply(names(slots), function(slot) has_content(assay, slot), logical(1))]
  found <- c(found, named_misc(methods::slot(assay, "misc"), OTHER_MISC))
  if (length(found)) paste0(paste(found, collapse = ", "), " of assay \"", name, "\"")
}

not_stored_of_reduction <- function(reduction, name) {
  found <- c(
    if (length(methods::slot(reduction, "feature.loadings.projected"))) "projected loadings",
    if (length(methods::slot(methods::slot(reduction, "jackstraw"), "empirical.p.values"))) "jackstraw",
    named_misc(methods::slot(reduction, "misc"), c(OTHER_MISC, if (is_of_run(reduction)) RUN_MISC))
  )
  if (length(found)) paste0(paste(found, collapse = ", "), " of reduction \"", name, "\"")
}

not_stored_of_object <- function(object) {
  c(
    named_part(names(methods::slot(object, "neighbors")), "neighbors"),
    named_part(names(methods::slot(object, "images")), "images"),
    named_part(names(methods::slot(object, "tools")), "tools"),
    named_misc(methods::slot(object, "misc"), OTHER_MISC),
    if (length(levels(SeuratObject::Idents(object))) > 1L && !length(identity_column(object))) "the active identities, which no metadata column holds"
  )
}

has_content <- function(assay, slot) {
  methods::.hasSlot(assay, slot) && length(methods::slot(assay, slot)) > 0L
}

named_misc <- function(misc, known) {
  named_part(setdiff(names(misc), known), "misc")
}

named_part <- function(names, what) {
  if (length(names)) paste0(what, " (", paste(names, collapse = ", "), ")")
}
