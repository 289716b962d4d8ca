"""Shared parts of both command lines: declaring verbs, suggesting corrections, and mapping errors to exit codes."""

import argparse
import errno
import io
import os
import re
import select
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

from common.config import expand_home
from common.errors import DataError, UsageError
from common.extras import install_command, project_version
from common.terminal import visible_lines

OK, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130
_CHOICE = re.compile(r"invalid choice: '([^']*)' \(choose from (.*)\)")
_SPACE = "free disk space or use another disk (--output, and TMPDIR for temporary files), then run the command again"
_FILES = "allow more open files (ulimit -n 4096) or use fewer processes, then run the command again"
_PYTHON_FORMAT = warnings.formatwarning
_REMEDIES = {  # errors of the machine that may occur wherever files are written
    errno.ENOSPC: _SPACE, errno.EDQUOT: _SPACE, errno.EFBIG: _SPACE, errno.EMFILE: _FILES, errno.ENFILE: _FILES,
    errno.EROFS: "choose a writable folder", errno.EACCES: "change the permissions or choose another path",
}  # fmt: skip
RENAMED = {
    "--split": "--set-name", "--set-name": "--dataset", "--colour": "--color", "--colours": "--colors", "label": "aggregate",
}  # fmt: skip
"""Flags and verbs of version 0.1 and their current names; `--set-name` was renamed in import-cnwl alone."""
REMOVED = {"advise": "it was removed, since study, plot and report print its sentences"}
"""Verbs of version 0.1 that are gone, and what replaces them."""
BROKEN_PIPE = 141  # the exit code that shells report for SIGPIPE


class Parser(argparse.ArgumentParser):
    """Argument parser whose errors suggest the nearest verb, choice or flag."""

    given: Sequence[str] = ()
    verbs: Any = None

    def add_subparsers(self, **options: Any) -> Any:
        """Add subparsers, and keep them for suggestions."""
        self.verbs = super().add_subparsers(**options)
        return self.verbs

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse arguments, and keep them for suggestions. Shells expand `--output ~/x`, but not `--output=~/x`."""
        words = sys.argv[1:] if args is None else list(args)
        self.given = [_expand_flag(word) for word in words]
        return super().parse_known_args(self.given, namespace)

    def error(self, message: str) -> NoReturn:
        """Print the error with a suggestion and exit with code 2."""
        if found := _CHOICE.search(message):
            choices = [choice.strip("' ") for choice in found[2].split(",")]
            near = [RENAMED[found[1]]] if RENAMED.get(found[1]) in choices else []
            near = near or get_close_matches(found[1], choices, n=1, cutoff=0.5)
            hint = REMOVED.get(found[1]) or (f"did you mean {near[0]!r}?" if near else "")
            message += hint and f"; {hint}"
        else:
            message += self.suggestions(self.given)
        super().error(message)

    def suggestions(self, words: Sequence[str]) -> str:
        """Return '; did you mean --output instead of --outptu?' for unknown flags that resemble a known one."""
        verbs = self.verbs.choices if self.verbs else {}
        usages = [self.format_usage(), *(verbs[word].format_usage() for word in words if word in verbs)]
        known = re.findall(r"--[a-z][a-z-]*", " ".join(usages))
        flags = [word.partition("=")[0] for word in words if word.startswith("--")]
        near = {
            flag: [RENAMED[flag]] if RENAMED.get(flag) in known else get_close_matches(flag, known, n=1)
            for flag in flags
            if flag not in known
        }
        return "".join(
            f"; did you mean {found[0]} instead of {flag}?" for flag, found in near.items() if found
        )


def _expand_flag(word: str) -> str:
    flag, equals, value = word.partition("=")
    return flag + equals + expand_home(value) if word.startswith("--") else expand_home(word)


def escape_unencodable() -> None:
    """Let standard output escape characters that its encoding lacks, as standard error does, instead of raising an error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def make_parser(module: str, command: str, description: str) -> Parser:
    """Return the parser of a command line without verbs; `command` is the name of its installed script."""
    is_command = os.path.basename(sys.argv[0]) == command
    prog = command if is_command else f"python -m {module}"
    top = Parser(prog=prog, description=description, allow_abbrev=False)
    top.add_argument(
        "--version", action="version", version=project_version(), help="show the version and exit"
    )
    return top


def add_verb(verbs: Any, name: str, about: str, example: str, more: str = "") -> argparse.ArgumentParser:
    """Add a verb to the subparsers `verbs`; --help ends with the text `more` and `example`, a complete command."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=about,
        description=about,
        epilog=f"{more}\n\nexample:\n  {example}".lstrip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON on standard output")
    return parser


def add_overrides(parser: argparse.ArgumentParser, of: str, example: str) -> None:
    """Add the flag --set KEY=VALUE, which overrides values of `of`."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"override a value of {of}, such as {example}; may be repeated",
    )


def run_verb(verb: Callable[[], int], extras: Mapping[str, str]) -> int:
    """Call `verb` and return its exit code; print errors meant for users on standard error.

    `extras` maps optional modules to the extra that installs them. Exceptions that indicate a bug propagate.
    """
    warnings.formatwarning = _format_warning
    try:
        code = verb()
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        if not _stdout_is_closed():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # otherwise Python's final flush fails
        return BROKEN_PIPE
    except UsageError as error:
        return _end(WRONG_USAGE, f"error: {error}")
    except DataError as error:
        return _end(FAILED, f"error: {error}")
    except ModuleNotFoundError as error:
        extra = extras.get(error.name or "")
        if extra is None:
            raise
        return _end(FAILED, f"error: {error.name} is not installed; {install_command(extra)}")
    except KeyboardInterrupt:
        return _end(INTERRUPTED, "interrupted; finished work is kept, run the same command to continue")
    except Exception as error:
        if message := _machine_error(error):
            return _end(FAILED, f"error: {message}")
        raise


def _format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Return a warning; one that is meant for users without the line of code that raised it."""
    if category is not UserWarning:
        return _PYTHON_FORMAT(message, category, filename, lineno, line)
    return f"warning: {visible_lines(str(message))}\n"


def _machine_error(error: BaseException | None) -> str | None:
    """Describe an error caused by a full disk or similar, also if Beam wrapped it; None for other errors."""
    while error:
        if isinstance(error, OSError):
            remedy = _REMEDIES.get(error.errno or 0)
            if "No usable temporary directory" in str(error):
                remedy = "free disk space, or set TMPDIR to a folder on another disk"
            if remedy:
                return f"{error.filename or 'a file'}: {error.strerror or error}; {remedy}"
        error = error.__cause__ or error.__context__
    return None


def _end(code: int, text: str) -> int:
    print(visible_lines(text), file=sys.stderr)
    return code


def _stdout_is_closed() -> bool:
    """Whether the reader of standard output has closed it, as `head` does."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
