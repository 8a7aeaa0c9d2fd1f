"""Which cells a mini-batch holds, and their data on the device, from memory or streamed from disk."""
