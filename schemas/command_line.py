"""What both command lines share: how a verb is declared, and which exit code a fault becomes."""

import argparse
import os
import select
import sys
from collections.abc import Callable, Mapping
from typing import Any

from schemas.errors import DataError, UsageError

OK, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130
UNREAD = 141  # what a shell says of a program that SIGPIPE ended


def add_verb(verbs: Any, name: str, about: str, example: str, more: str = "") -> argparse.ArgumentParser:
    """Add a verb to the subparsers `verbs`: `example` is a whole command, `more` stands above it in --help."""
    one: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=about,
        description=about,
        epilog=f"{more}\n\nexample:\n  {example}".lstrip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    one.add_argument("--json", action="store_true", help="print the result as JSON on standard output")
    return one


def carry_out(verb: Callable[[], int], extras: Mapping[str, str]) -> int:
    """Call `verb` and return its exit code, or that of what it raises, having said on standard error what it was.

    `extras` names the extra of the package that brings a module. Whatever is no fault of the user's is raised.
    """
    try:
        code = verb()
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        if not _unread():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python's last flush fails, too
        return UNREAD
    except UsageError as error:
        return _end(WRONG_USAGE, f"error: {error}")
    except DataError as error:
        return _end(FAILED, f"error: {error}")
    except ModuleNotFoundError as error:
        extra = extras.get(error.name or "")
        if extra is None:
            raise
        return _end(FAILED, f"error: {error.name} is not installed; pip install 'controlled-noise[{extra}]'")
    except KeyboardInterrupt:
        return _end(INTERRUPTED, "stopped; what is finished is kept, and the same command goes on from there")


def _end(code: int, text: str) -> int:
    print(text, file=sys.stderr)
    return code


def _unread() -> bool:
    """Whether whoever read our standard output has left, as `head` does."""
    asked = select.poll()
    asked.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in asked.poll(0))
