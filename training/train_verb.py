"""The verb train."""

import argparse
import sys

from common.config import parse_overrides
from training.data.remote import local_copy, local_folder
from training.distributed import join_processes
from training.features.extract import FEATURES
from training.flags import bytes_of
from training.loggers import Loggers
from training.printing import print_accuracies, print_choice
from training.run_length import warn_of_short_runs
from training.stop_signal import StopSignal
from training.train import prepare_run, run_training


def verb(arguments: argparse.Namespace) -> int:
    """Train one run; the first Ctrl-C saves a checkpoint and stops, the second stops at once.

    Under torchrun each process calls this function, and the processes share each batch.
    """
    overrides = parse_overrides(arguments.set)
    if arguments.method:
        overrides["method"] = arguments.method
    try:
        with join_processes() as (processes, device), StopSignal() as stop:
            leader = processes.rank == 0
            names = [*arguments.logger, *(["tensorboard"] if arguments.tensorboard else [])]
            loggers = Loggers(names if leader else ())
            if leader:
                local_copy(arguments.data, [arguments.set_name, arguments.test], arguments.cache)
            processes.barrier()
            data = local_folder(arguments.data, arguments.cache)
            config, sets, why = prepare_run(
                data,
                arguments.set_name,
                arguments.test,
                arguments.recipe,
                overrides,
                device,
                resident_bytes=bytes_of(arguments.resident_gb),
            )
            if leader:
                print_choice(why)
                warn_of_short_runs([(config, len(sets[0]))])
            result = run_training(
                config,
                *sets,
                arguments.output,
                device=device,
                processes=processes,
                features=arguments.features or arguments.output.parent / FEATURES,
                resume=arguments.resume,
                progress=not arguments.json,
                stop=stop,
                loggers=loggers,
            )
    except KeyboardInterrupt:
        print(
            f"stopped; to continue, run the same command with --resume ({arguments.output})", file=sys.stderr
        )
        return 130
    if leader:
        print_accuracies(result, result.get("test_images"), "final_accuracy", arguments.json)
    return 0
