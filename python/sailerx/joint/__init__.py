"""The embedding that users get: the RNA reference beside coordinates of the ATAC, weighted by what they predict."""
