"""The kernels of numpy's and torch's libraries, which `make test-kernels` chooses."""

import os

import numpy as np
import pytest

threadpoolctl = pytest.importorskip("threadpoolctl")
torch = pytest.importorskip("torch")


ALIASES = {"Zen": "Haswell"}
"""Of these processors OpenBLAS has no kernels of their own unless it was built with them."""


@pytest.mark.numeric
def test_numpy_multiplies_by_the_kernel_that_was_asked_for():
    np.ones((2, 2)) @ np.ones((2, 2))
    blas = [lib for lib in threadpoolctl.threadpool_info() if lib["user_api"] == "blas"]
    used = {lib["architecture"] for lib in blas if lib["internal_api"] == "openblas"}
    asked = os.environ.get("OPENBLAS_CORETYPE")
    assert used
    assert asked is None or used in ({asked}, {ALIASES.get(asked, asked)})


@pytest.mark.numeric
def test_torch_computes_by_the_instructions_that_were_asked_for():
    asked = os.environ.get("ATEN_CPU_CAPABILITY")
    assert asked is None or torch.backends.cpu.get_cpu_capability() == asked.upper()
