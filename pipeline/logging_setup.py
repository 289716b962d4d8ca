"""Logging: warnings and errors on stderr, without Beam's notes to its developers."""

import logging


def set_up_logging() -> None:
    """Log warnings to stderr. Call it before importing Beam, which warns during import."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger().addFilter(lambda record: "apitools not found" not in record.getMessage())
    # These two warn about intended settings on every start.
    logging.getLogger("apache_beam.runners.portability.fn_api_runner.fn_runner").setLevel(logging.ERROR)
    logging.getLogger("apache_beam.runners.portability.local_job_service").setLevel(logging.ERROR)
    # Exceptions of tasks are raised, so logging them with their traceback would repeat them.
    logging.getLogger("apache_beam.runners.common").setLevel(logging.CRITICAL)
