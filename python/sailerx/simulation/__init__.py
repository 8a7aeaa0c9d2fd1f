"""Simulated RNA + ATAC of known truth."""
