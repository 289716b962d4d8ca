"""What holds for all tests: a busy machine is no fault of the code, so properties have no deadline, and a process computes
in one thread. Idle threads of torch and BLAS spin while they wait for those that other processes keep from running.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before a library reads it; processes that tests start inherit it

try:
    from hypothesis import HealthCheck, settings
except ModuleNotFoundError:  # the environment of tests/engines has none
    pass
else:
    settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("untimed")
