"""Training one model with several processes (torch.distributed)."""
