"""Writing files: under a temporary name first, so that a file that is there is whole."""
