"""The training loop, its state and checkpoints, early stopping, CUDA graphs and distributed training."""
