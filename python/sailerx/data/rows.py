"""Lengths of rows: those of the joint embedding are [ g / |g| , α · ATAC coordinates ]."""

from __future__ import annotations

import numpy as np


def unit_rows(g: np.ndarray) -> np.ndarray:
    """Scale rows to unit length; rows of zeros stay."""
    length = np.linalg.norm(g, axis=1, keepdims=True)
    return g / np.where(length > 0, length, 1)


def damped(rows: np.ndarray, usual: float) -> np.ndarray:
    """Divide rows by the square root of their length over the usual one: rows of shallow cells are long because they are noisy."""
    length = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    shorter: np.ndarray = rows / np.sqrt(length / max(usual, 1e-12))
    return shorter


def joined(rna: np.ndarray, atac: np.ndarray) -> np.ndarray:
    """Put the RNA part and the ATAC part of the rows side by side, float32."""
    return np.concatenate([rna, atac], axis=1).astype(np.float32)
