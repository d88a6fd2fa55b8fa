"""How a run can end early; each message is complete in itself, and can be printed anywhere."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterable
from typing import TextIO

SHOWN_LENGTH = 60  # a longer value is cut in messages
TOLD: list[str] = []  # by this process, and not taken yet


class ConfigError(ValueError):
    """The user's input is wrong: one line that says where, what, got, and what would be right."""


class WrongKey(ConfigError):
    """What is wrong with a key's value; the reader puts in front of it where it was given."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(f"{key}: {text}")
        self.key, self.text = key, text


class RunFailed(Exception):
    """The run ended early: which rank, client and round, and why."""


class ClientFailed(Exception):
    """A client's training gave what cannot be used."""


def show(value: object) -> str:
    """The value as JSON on one line, cut when it is long; never fails."""
    try:
        text = printable(json.dumps(value, ensure_ascii=False))
    except (TypeError, ValueError, RecursionError):  # an object of ours, or nested too deeply
        text = f"a {type(value).__name__}"
    return text if len(text) <= SHOWN_LENGTH else text[: SHOWN_LENGTH - 3] + "..."


def printable(text: str) -> str:
    """The text with what would move a terminal's cursor, or could not be encoded, escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def say(text: str, stream: TextIO | None = None) -> None:
    """Prints one line, whatever is in the names that it holds."""
    print(printable(text), file=stream, flush=True)


def tell(notes: Iterable[str], warnings: Iterable[str]) -> None:
    """Says them all, each on a line of its own, and keeps them for the run that they are of."""
    for kind, lines, stream in (("note", notes, None), ("warning", warnings, sys.stderr)):
        for line in lines:
            say(text := printable(f"{kind}: {line}"), stream)
            TOLD.append(text)


def take_told() -> list[str]:
    """What was told since this was last asked."""
    return [TOLD.pop(0) for _ in range(len(TOLD))]


def prepare_process() -> None:
    """Standard output and error take what they cannot encode, and may have been closed.

    What ends a process at once ends this one in order, its ranks and folders too. Call this first:
    a file opened before would get a closed stream's number, and what is said."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))
        if mode == "w":
            getattr(sys, name).reconfigure(errors="backslashreplace")
    for name in ("SIGTERM", "SIGHUP"):  # SIGHUP: the terminal is closed; Windows has none
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) is not signal.SIG_IGN:  # as by nohup
            signal.signal(number, lambda number, _: sys.exit(128 + number))


def ending(command: Callable[[], None]) -> int:
    """Carries the command out, and says why it ended early; its exit status."""
    above = "\n\n" if sys.stderr.isatty() else ""  # below the progress bars
    try:
        command()
    except ENDINGS as error:
        return report(error, "" if isinstance(error, ConfigError) else above)
    except KeyboardInterrupt as interrupt:
        hint = f"; {interrupt}" if str(interrupt) else ""
        print(f"{above}error: interrupted by Ctrl-C{hint}", file=sys.stderr)
        return 130
    return 0


def describe_os_error(error: OSError) -> str:
    """The file, and what the system says of it: ``runs/a/model.pth: No space left on device``."""
    where = f"{printable(str(error.filename))}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


ENDINGS = (ConfigError, RunFailed, ClientFailed, OSError)  # of a command, with a message to say


def report(error: Exception, above: str = "") -> int:
    """Says why a command ends (``above`` it what keeps off progress bars); its exit status."""
    text = describe_os_error(error) if isinstance(error, OSError) else str(error)
    lines = [text] if isinstance(error, ConfigError) else text.split("\n")
    print(f"{above}error:", "\n".join(map(printable, lines)), file=sys.stderr)
    return 2 if isinstance(error, ConfigError) else 1
