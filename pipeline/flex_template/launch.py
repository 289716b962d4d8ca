"""Entry point of the template: `launch.py --stage=ingest --config=gs://… --output=gs://… …`.

The launcher starts one job, and a stage is one job, so the stage is a parameter. All other flags are those of
`python -m pipeline STAGE` and of Beam.
"""

import argparse
import sys

from pipeline.__main__ import main
from pipeline.layout import STAGES


def launch(argv: list[str]) -> int:
    """Run the stage given by --stage and return the exit code."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--stage", required=True, choices=STAGES)
    known, others = parser.parse_known_args(argv)
    return main([known.stage, *others])


if __name__ == "__main__":
    sys.exit(launch(sys.argv[1:]))
