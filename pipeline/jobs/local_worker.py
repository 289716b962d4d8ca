"""A worker process of the local runner: Beam's own, with its chatter turned down.

Started by pipeline.jobs.options as `python -m pipeline.jobs.local_worker`.
"""

import logging
import signal
import sys

from pipeline.logs import set_up_logging


def main() -> None:
    """Run Beam's worker until the runner closes it."""
    set_up_logging()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the runner's to answer
    from apache_beam.runners.worker import sdk_worker_main

    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    # Beam names its worker's logger by the module it expects to be started as, and by its import name.
    for name in ("__main__", "apache_beam.runners.worker.sdk_worker_main"):
        logging.getLogger(name).setLevel(logging.ERROR)
    sdk_worker_main.main(sys.argv)


if __name__ == "__main__":
    main()
