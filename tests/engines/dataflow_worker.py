"""Run the graph of a Dataflow job on this machine: `python -m tests.engines.dataflow_worker GRAPH`.

The graph is the one that Beam's Dataflow client staged; only its container images give way to this process. The metrics
are printed as JSON.
"""

import json
import sys
from pathlib import Path

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipeline.running.metrics import collect


def main(path: str) -> None:
    graph = beam_runner_api_pb2.Pipeline.FromString(Path(path).read_bytes())
    for environment in graph.components.environments.values():
        environment.urn, environment.payload = python_urns.EMBEDDED_PYTHON, b""
        del environment.dependencies[:]
    result = FnApiRunner().run_via_runner_api(graph, PipelineOptions([]))
    result.wait_until_finish()
    print(json.dumps(collect(result)))


if __name__ == "__main__":
    main(sys.argv[1])
