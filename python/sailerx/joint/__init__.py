"""The embedding that users get: the RNA reference beside the ATAC scores, weighted by what they predict."""
