"""Adam without what PyTorch imports for its compiler."""

from __future__ import annotations

from inspect import unwrap
from typing import Any

import torch
from torch.optim import Optimizer

from sailerx.threads import operations_split

_step = torch.no_grad()(unwrap(torch.optim.Adam.step))


class Adam(torch.optim.Adam):
    """`torch.optim.Adam`, for training that is not compiled.

    PyTorch wraps these methods so that ``torch.compile`` leaves them alone, and the wrappers import the whole compiler, which takes
    as long as importing PyTorch. Here they are as they were written.
    """

    add_param_group = unwrap(Optimizer.add_param_group)
    zero_grad = unwrap(Optimizer.zero_grad)
    state_dict = unwrap(Optimizer.state_dict)
    load_state_dict = unwrap(Optimizer.load_state_dict)

    def step(self, closure: Any = None) -> Any:
        """Update the weights, each tensor in all threads: the layers next to the peaks are limited by the speed of memory."""
        with operations_split():
            return _step(self, closure)
