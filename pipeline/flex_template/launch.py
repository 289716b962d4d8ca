"""What the template's launcher runs: `launch.py --stage=ingest --config=gs://… --output=gs://… …`.

A launcher starts one job, and a stage is one job, so the stage is a parameter. The flags are those of
`python -m pipeline STAGE`, and Beam's.
"""

import argparse
import sys

from pipeline.__main__ import STAGES, main


def launch(argv: list[str]) -> int:
    """Run the stage that `argv` names, as the command line does; returns its exit code."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--stage", required=True, choices=STAGES)
    known, others = parser.parse_known_args(argv)
    return main([known.stage, *others])


if __name__ == "__main__":
    sys.exit(launch(sys.argv[1:]))
