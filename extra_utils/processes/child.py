"""A function in a child process: one that may hang, or one that has a core of its own."""

import signal
import socket
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from extra_utils.basics.errors import ConfigError, RunFailed
from extra_utils.processes.machine import end_with_parent, process_context

PATIENCE_S = 20.0  # a download that brings no byte for this long has failed


class Unavailable(RunFailed):
    """What was asked for is not to be had; the message, one line, says why."""


def in_child(
    function: Callable[..., Any],
    *args: object,
    growing: Path | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> Any:
    """``function(*args)`` in a child process, with this one busy ``meanwhile``.

    Raises Unavailable where it fails, and ConfigError as it does. A child that fetches into the
    folder ``growing`` is ended when that has stopped to grow.
    """
    context: Any = process_context()
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(sender, function, args), daemon=True)
    child.start()
    sender.close()
    try:
        meanwhile()
        _wait(receiver, growing)
        is_right, answer = receiver.recv()
    except EOFError:
        raise Unavailable("the process that reads it died") from None
    finally:
        child.kill()
        child.join()
    if not is_right:
        raise answer
    return answer


def _wait(receiver: Connection, growing: Path | None) -> None:
    size, since = -1, time.monotonic()
    while not receiver.poll(0.2):
        files = growing.rglob("*") if growing else []
        now_size = sum(path.stat().st_size for path in files if path.is_file())
        if now_size != size or not growing:
            size, since = now_size, time.monotonic()
        elif time.monotonic() - since > PATIENCE_S:
            raise Unavailable(f"nothing came for {PATIENCE_S:.0f} seconds")


def _child(sender: Connection, function: Callable[..., Any], args: tuple[object, ...]) -> None:
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    socket.setdefaulttimeout(PATIENCE_S / 2)
    try:
        sender.send((True, function(*args)))
    except ConfigError as error:
        sender.send((False, ConfigError(str(error))))
    except (OSError, RuntimeError, ValueError) as error:  # URLError is an OSError
        reason = getattr(error, "reason", None) or error
        sender.send((False, Unavailable(" ".join(str(reason).split()))))
