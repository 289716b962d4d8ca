"""Fuzz one target until libFuzzer's limits end it: `python -m tests.fuzz.fuzzer TARGET [libFuzzer's flags] [FOLDER …]`.

Needs atheris; started by `python -m tests.fuzz`.
"""

import sys

import atheris

OURS = ("common", "schemas", "pipeline", "training", "tests")
READERS = ("PIL", "protego", "yarl", "idna", "multidict")
"""Packages whose Python code is guided by coverage, too. The C code of libraries is not."""


def main() -> None:
    """Load the target with its coverage recorded, and hand it to libFuzzer."""
    name, *flags = sys.argv[1:]
    atheris.enabled_hooks.add("str")
    with atheris.instrument_imports(include=[*OURS, *READERS]):
        from tests.fuzz import targets

        target = targets.load(name)
    atheris.Setup([sys.argv[0], *flags], target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
