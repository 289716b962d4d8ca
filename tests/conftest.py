"""What holds for all tests: a busy machine is no fault of the code, so properties have no deadline."""

try:
    from hypothesis import HealthCheck, settings
except ModuleNotFoundError:  # the environment of tests/engines has none
    pass
else:
    settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("untimed")
