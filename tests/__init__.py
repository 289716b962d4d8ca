"""The tests mirror the packages. A process of a test computes in one thread."""

import os

# Idle threads of torch and BLAS spin, on a busy machine for longer than they compute. The libraries read this when they are
# imported, and processes that tests start inherit it.
os.environ["OMP_NUM_THREADS"] = "1"
