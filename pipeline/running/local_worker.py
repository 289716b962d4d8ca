"""What a worker process of the local runner does: Beam's own work, with its chatter turned down."""

import logging
import signal
import sys

from apache_beam.runners.worker import sdk_worker_main

from pipeline.logs import set_up_logging


def main() -> None:
    """Run Beam's worker until the runner closes it."""
    set_up_logging()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the runner's to answer
    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    logging.getLogger(sdk_worker_main.__name__).setLevel(logging.ERROR)
    sdk_worker_main.main(sys.argv)
