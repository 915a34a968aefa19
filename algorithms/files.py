"""Files that are whole or not there."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

BEING_WRITTEN = ".part"
"""Ends the name of a file that is not whole yet."""


class NotWritten(Exception):
    """Why a file could not be written (a full disk, a folder without permission); one line."""


@contextlib.contextmanager
def written_whole(file: Path, is_shared: bool = False) -> Iterator[Path]:
    """A path beside `file` to write to; it is forced to the disk and moved into place at the end.

    `is_shared`: several processes may write the file at once, each beside it by its own name.

    Raises NotWritten; what `file` was before is then untouched, and nothing is left beside it.
    """
    own = f".{os.getpid()}" if is_shared else ""
    beside = file.with_name(f"{file.name}{own}{BEING_WRITTEN}")
    try:
        yield beside
        _force(beside)
        beside.replace(file)
        _force(file.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        if isinstance(error, OSError | SafetensorError):
            reason = getattr(error, "strerror", None) or str(error)
            raise NotWritten(f"{file} cannot be written: {reason}") from None
        raise


def _force(path: Path) -> None:
    """Wait until a file, or a folder's list of files, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
