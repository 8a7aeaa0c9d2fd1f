"""The layers next to the peaks: x as positions of its ones, and what is computed from it on a CPU or a GPU."""
