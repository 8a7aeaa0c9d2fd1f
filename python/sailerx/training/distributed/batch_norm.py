"""BatchNorm over a mini-batch whose cells are spread over several processes, on CPU or GPU."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sailerx.training.distributed.collectives import AllReduce


class SharedBatchNorm(nn.BatchNorm1d):
    """`torch.nn.SyncBatchNorm`, but also on a CPU: BatchNorm over the mini-batch's cells of all processes.

    It shares weights and running statistics with the layer that it replaces.
    """

    def __init__(self, norm: nn.BatchNorm1d, rank: int, world_size: int) -> None:
        super().__init__(norm.num_features)
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.rank, self.world_size = rank, world_size
        self._local = (norm,)  # in a tuple, so that it is not registered as a submodule

    @property
    def local(self) -> nn.BatchNorm1d:
        """The replaced layer, with which it shares weights and running statistics."""
        return self._local[0]

    def forward(self, h: Float[Tensor, "own_cells features"]) -> Float[Tensor, "own_cells features"]:
        """Normalise by mean and variance of the whole mini-batch; in evaluation mode by running statistics."""
        if not self.training:
            return super().forward(h)
        n, mean, var = self._moments(h)
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            assert self.momentum is not None
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * n / (n - 1), self.momentum)
            self.num_batches_tracked += 1
        return (h - mean) * (self.weight * (var + self.eps).rsqrt()) + self.bias

    def _moments(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the number of cells, and mean and variance of each feature, over all processes."""
        own_n = len(h)
        own_mean = h.sum(dim=0) / max(1, own_n)
        own_squares = ((h - own_mean) ** 2).sum(dim=0)
        own = torch.cat([own_mean, own_squares, own_mean.new_full((1,), own_n)])
        nothing = torch.zeros_like(own)
        padded = torch.stack([own if i == self.rank else nothing for i in range(self.world_size)])
        of_ranks = AllReduce.apply(padded, self.rank)  # ranks × (mean, sum of squares, n)
        means, squares, ns = of_ranks.split([self.num_features, self.num_features, 1], dim=1)
        # Chan et al. 1979: mean = sum_r n_r mean_r / n, squares = sum_r squares_r + n_r (mean_r - mean)^2
        n = ns.sum()
        mean = (ns * means).sum(dim=0) / n
        return n, mean, (squares + ns * (means - mean) ** 2).sum(dim=0) / n
