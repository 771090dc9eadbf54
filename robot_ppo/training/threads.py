"""Threads of the libraries that compute: set by the commands that train or score, then restored.

Simulations run on their own threads. A product of matrices as small as a robot's is faster on one
thread, and an update repeats to the bit only where the number of threads does not change the
order of a sum.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


@contextmanager
def single_threaded() -> Iterator[None]:
    """Hold torch and numpy's BLAS to one thread per product; restore both at the end."""
    threads = torch.get_num_threads()
    with threadpool_limits(1, user_api="blas"):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
