# Checks of the arguments that users give. Each error says what must hold, what was found and what to do; behind these
# checks, the code trusts its input.

# Returns the object, without the layers that a subset() has left behind.
check_seurat <- function(object, arg = "object", call = rlang::caller_env()) {
  if (!inherits(object, "Seurat")) {
    cli::cli_abort(c(
      "{.arg {arg}} must be a {.cls Seurat} object, not {.obj_type_friendly {object}}.",
      i = seurat_hint(object)
    ), call = call)
  }
  check_current(object, arg, call)
  without_left_layers(object, arg, call)
}

# How to come by a Seurat object. Seurat 2's class is `seurat`.
seurat_hint <- function(object) {
  if (inherits(object, "seurat")) {
    return(UPDATE)
  }
  "Read a MuData file with {.fn ReadH5MU}, or make an object with {.fn SeuratObject::CreateSeuratObject}."
}

UPDATE <- "It was made by an older version of Seurat: {.code object <- SeuratObject::UpdateSeuratObject(object)}."

# Objects saved by an older version of SeuratObject lack the slots that its classes have gained since.
check_current <- function(object, arg, call) {
  parts <- c(list(object), attr(object, "assays"), attr(object, "reductions"), attr(object, "graphs"))
  lacking <- unlist(lapply(parts, function(part) Filter(function(slot) !methods::.hasSlot(part, slot), methods::slotNames(part))))
  if (length(lacking)) {
    cli::cli_abort(c(
      "{.arg {arg}} must be an object of this version of SeuratObject, but it lacks {.val {unique(lacking)}}.",
      i = UPDATE
    ), call = call)
  }
}

check_among <- function(wanted, there, what, call = rlang::caller_env()) {
  missing <- setdiff(wanted, there)
  if (length(missing) > 0L) {
    have <- if (length(there) > 0L) cli::format_inline("{.val {there}}") else "none"
    cli::cli_abort(
      c("{.arg {what}} must name what is there, but there is no {.val {missing}}.", i = "There is: {have}."),
      call = call
    )
  }
  wanted
}

is_name <- function(x) {
  is.character(x) && length(x) == 1 && !is.na(x) && nzchar(x)
}

check_name <- function(x, arg, call = rlang::caller_env(2)) {
  if (!is_name(x)) {
    cli::cli_abort("{.arg {arg}} must be one name, not {.obj_type_friendly {x}}.", call = call)
  }
}

list_or_none <- function(x) {
  if (length(x)) x else "none"
}

check_assay <- function(object, assay, arg, call = rlang::caller_env(2)) {
  check_name(assay, arg, call = call)
  there <- SeuratObject::Assays(object)
  if (!assay %in% there) {
    cli::cli_abort(c(
      "{.arg {arg}} must be an assay of the object: there is no assay {.val {assay}}.",
      i = "The object has {.val {list_or_none(there)}}."
    ), call = call)
  }
  assay
}

check_atac_assay <- function(object, assay, call = rlang::caller_env()) {
  if (is.null(assay)) {
    there <- SeuratObject::Assays(object)
    assay <- Filter(function(name) is_peak_assay(object[[name]], name), there)
    if (length(assay) != 1) {
      cli::cli_abort(c(
        "{.arg atac.assay} must be named: the object has {length(assay)} assays that are {.cls ChromatinAssay} or called {.val peaks} or {.val ATAC}.",
        i = "The object's assays are {.val {list_or_none(there)}}."
      ), call = call)
    }
  }
  check_assay(object, assay, "atac.assay", call = call)
  check_counts(object, assay, "atac.assay", call = call)
  assay
}

check_rna_assay <- function(object, assay, atac_assay, reference, call = rlang::caller_env()) {
  assay <- assay %||% default_rna_assay(object, reference)
  if (is.null(assay)) {
    cli::cli_abort(c(
      "{.arg rna.assay} must be named: the object has no assay {.val RNA}.",
      i = "The object's assays are {.val {SeuratObject::Assays(object)}}."
    ), call = call)
  }
  check_assay(object, assay, "rna.assay", call = call)
  if (identical(assay, atac_assay)) {
    cli::cli_abort("{.arg rna.assay} and {.arg atac.assay} must differ: both are {.val {assay}}.", call = call)
  }
  if (is.null(reference)) {
    check_counts(object, assay, "rna.assay", call = call)
  }
  assay
}

default_rna_assay <- function(object, reference) {
  if ("RNA" %in% SeuratObject::Assays(object)) {
    return("RNA")
  }
  if (is_name(reference) && reference %in% SeuratObject::Reductions(object)) {
    SeuratObject::DefaultAssay(object[[reference]])
  }
}

check_counts <- function(object, assay, arg, call) {
  check_parts(object[[assay]], assay, "counts", call)
  if (!has_counts(object, assay)) {
    cli::cli_abort(c(
      "{.arg {arg}} must have counts: assay {.val {assay}} has no layer {.val counts}.",
      x = "Its layers: {.val {list_or_none(SeuratObject::Layers(object[[assay]]))}}. Normalised values cannot replace counts.",
      i = "Add the counts with {.code SeuratObject::LayerData()}, or name another assay."
    ), call = call)
  }
}

check_reference <- function(object, reference, rna_assay, atac_assay, call = rlang::caller_env()) {
  if (is.null(reference)) {
    return(invisible())
  }
  check_name(reference, "reference", call = call)
  there <- SeuratObject::Reductions(object)
  if (!reference %in% there) {
    cli::cli_abort(c(
      "{.arg reference} must be a reduction of the object: there is no {.val {reference}}.",
      x = "The object's reductions: {.val {list_or_none(there)}}.",
      i = "Make one ({.fn Seurat::RunPCA}), or use {.code reference = NULL}: Python then computes PCA from the RNA counts."
    ), call = call)
  }
  lacking <- setdiff(SeuratObject::Cells(object[[rna_assay]]), SeuratObject::Cells(object[[reference]]))
  if (length(lacking)) {
    cli::cli_abort(c(
      "{.arg reference} must have a row for every cell of assay {.val {rna_assay}}: reduction {.val {reference}} lacks {length(lacking)} cell{?s} ({.val {utils::head(lacking, 3)}}, ...).",
      i = "Compute the reduction again, or take the subset of the object that has it."
    ), call = call)
  }
  of_atac <- identical(SeuratObject::DefaultAssay(object[[reference]]), atac_assay)
  if (of_atac && !isTRUE(SeuratObject::Misc(object[[reference]], "h5mu")$top)) {
    cli::cli_warn(c(
      "{.arg reference} should be a reduction of the RNA, but {.val {reference}} is one of the peak assay {.val {atac_assay}}: ATAC would teach itself.",
      i = "Name a reduction of assay {.val {rna_assay}}, or leave {.arg reference} out."
    ), call = call)
  }
}

check_columns <- function(object, columns, arg, call = rlang::caller_env()) {
  if (is.null(columns)) {
    return(invisible())
  }
  if (!is.character(columns) || anyNA(columns) || anyDuplicated(columns)) {
    cli::cli_abort("{.arg {arg}} must be different names of metadata columns, not {.obj_type_friendly {columns}}.", call = call)
  }
  there <- colnames(object[[]])
  missing <- setdiff(columns, there)
  if (length(missing)) {
    cli::cli_abort(c(
      "{.arg {arg}} must name columns of the metadata: there is no {.val {missing}}.",
      i = "The object's columns: {.val {list_or_none(there)}}."
    ), call = call)
  }
  odd <- Filter(function(column) !is_storable(object[[]][[column]]), columns)
  if (length(odd)) {
    cli::cli_abort(c(
      "{.arg {arg}} must name columns of numbers, text, logicals or factors: {.val {odd[1]}} is {.obj_type_friendly {object[[]][[odd[1]]]}}.",
      i = "Convert it first, for example with {.fn as.factor}."
    ), call = call)
  }
  if (any(grepl("/", columns, fixed = TRUE))) {
    cli::cli_abort("{.arg {arg}} must name columns without a slash: rename {.val {grep('/', columns, value = TRUE)}}.", call = call)
  }
}

# Covariates are numbers: a factor among them would be a batch.
check_covariates <- function(object, columns, call = rlang::caller_env()) {
  check_columns(object, columns, "covariates", call = call)
  for (column in columns) {
    values <- object[[]][[column]]
    if (!is.numeric(values) && !is.logical(values)) {
      are_numbers <- !anyNA(suppressWarnings(as.numeric(level_text(values))))
      cli::cli_abort(c(
        "{.arg covariates} must name columns of numbers: {.val {column}} is {.obj_type_friendly {values}}.",
        i = if (are_numbers) {
          "Its values are numbers: {.code object${column} <- as.numeric(as.character(object${column}))}."
        } else {
          "Name it in {.arg batch}, whose levels are categories."
        }
      ), call = call)
    }
  }
}

check_seed <- function(seed, call = rlang::caller_env()) {
  if (is.null(seed)) {
    return(invisible())
  }
  if (!rlang::is_integerish(seed, n = 1, finite = TRUE) || seed < 0 || seed >= 2^32) {
    found <- if (is.numeric(seed) && length(seed) == 1) cli::format_inline("{.val {seed}}") else cli::format_inline("{.obj_type_friendly {seed}}")
    cli::cli_abort("{.arg seed} must be one whole number from 0 to 4294967295 or {.code NULL}, not {found}.", call = call)
  }
}

check_gzip <- function(gzip, call = rlang::caller_env()) {
  if (!rlang::is_integerish(gzip, n = 1, finite = TRUE) || gzip < 0 || gzip > 9) {
    cli::cli_abort("{.arg gzip} must be one whole number from 0 to 9, not {.val {gzip}}.", call = call)
  }
}

# Returns the key to use, see unused_key().
check_reduction <- function(object, name, key, call = rlang::caller_env()) {
  check_name(name, "reduction.name", call = call)
  if (name != make.names(name)) {
    cli::cli_abort(c(
      "{.arg reduction.name} must be a valid R name: {.val {name}} is not.",
      i = "Use {.val {make.names(name)}}."
    ), call = call)
  }
  others <- setdiff(names(object), SeuratObject::Reductions(object))
  if (name %in% others) {
    cli::cli_abort("{.arg reduction.name} must be free: {.val {name}} is an assay or a graph of the object.", call = call)
  }
  check_name(key, "reduction.key", call = call)
  if (!grepl("^[a-zA-Z][a-zA-Z0-9]*_$", key)) {
    cli::cli_abort("{.arg reduction.key} must be letters and digits and end in an underscore ({.val SAILERX_}), not {.val {key}}.", call = call)
  }
  unused_key(object, name, key)
}

# The absolute path, because Python runs in a folder of its own.
check_checkpoint <- function(checkpoint, call = rlang::caller_env()) {
  if (is.null(checkpoint)) {
    return(NULL)
  }
  check_name(checkpoint, "checkpoint", call = call)
  if (dir.exists(checkpoint)) {
    cli::cli_abort("{.arg checkpoint} must be a file: {.path {checkpoint}} is a folder.", call = call)
  }
  absolute_in_folder(checkpoint, "checkpoint", call)
}

check_assay_arguments <- function(rna, reference, call = rlang::caller_env()) {
  if (!inherits(rna, c("Assay", "StdAssay"))) {
    cli::cli_abort("{.arg rna} must be an RNA assay, not {.obj_type_friendly {rna}}.", call = call)
  }
  if (!is.null(reference) && !inherits(reference, "DimReduc")) {
    cli::cli_abort("{.arg reference} must be a {.cls DimReduc} or {.code NULL}, not {.obj_type_friendly {reference}}.", call = call)
  }
}

# The method for assays makes an object of its own, with names of its own.
check_unnamed <- function(names, call = rlang::caller_env()) {
  named <- intersect(names, c("atac.assay", "rna.assay", "reduction.name"))
  if (length(named)) {
    cli::cli_abort(c(
      "{.arg {named}} {?names a part/name parts} of a {.cls Seurat} object, but {.arg object} is an assay.",
      i = "Leave {cli::qty(named)}{?it/them} out: the reduction is returned alone."
    ), call = call)
  }
}

# With `model` nothing is trained, so that arguments of training would be without effect.
check_not_trained <- function(arguments, call = rlang::caller_env()) {
  named <- names(Filter(Negate(is.null), arguments))
  if (length(named)) {
    cli::cli_abort(c(
      "With {.arg model}, nothing is trained: {.arg {named}} {?has/have} no effect.",
      i = "Leave {cli::qty(named)}{?it/them} out, or leave {.arg model} out to train."
    ), call = call)
  }
}
