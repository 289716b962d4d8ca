"""What a user sees of logging: warnings and errors, without Beam's notes to its own developers."""

import logging


def set_up_logging() -> None:
    """Log warnings to stderr. Called before Beam is imported, for Beam warns at import already."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger().addFilter(lambda record: "apitools not found" not in record.getMessage())
    # Our own processes and workers run as we set them; these two doubt it on every start.
    logging.getLogger("apache_beam.runners.portability.fn_api_runner.fn_runner").setLevel(logging.ERROR)
    logging.getLogger("apache_beam.runners.portability.local_job_service").setLevel(logging.ERROR)
    # What a task raises is logged there, traceback and all, and raised as well.
    logging.getLogger("apache_beam.runners.common").setLevel(logging.CRITICAL)
