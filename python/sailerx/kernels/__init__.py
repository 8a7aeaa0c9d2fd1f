"""The encoder's first and the decoder's last layer on sparse x: Numba loops on the CPU, batched products on the GPU."""
