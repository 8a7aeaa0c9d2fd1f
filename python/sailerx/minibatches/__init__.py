"""Draw the cells of each mini-batch, and put their data on the device, from memory or streamed from disk."""
