"""Read and validate RNA + ATAC data: from a file or MuData object to `Multiome`. Reading files and parsing peaks need no torch."""
