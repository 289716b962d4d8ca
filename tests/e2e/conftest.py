from tests.pipeline.conftest import built, world  # noqa: F401  fixtures for whole runs
