"""The training loop and what it keeps: state, checkpoints, early stopping, CUDA graphs, several processes."""
