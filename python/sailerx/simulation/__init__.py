"""Simulate RNA + ATAC counts whose expected values are known."""
