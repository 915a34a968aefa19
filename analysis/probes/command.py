"""What the command lines of probes share."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from algorithms import ALGORITHMS
from algorithms.files import NotWritten
from algorithms.options import Refused
from algorithms.train import prepare_process
from analysis.protocol import ProtocolError
from analysis.records import RecordError
from analysis.resolution import PlanError


def exit_status(measure: Callable[[], None]) -> int:
    """Of a probe's command: 0; 2 and a line on standard error where what was asked, or a record,
    makes no sense; 1 and a line where the disk did not take what was to be written."""
    try:
        measure()
    except (ProtocolError, PlanError, RecordError, Refused) as error:
        print(error, file=sys.stderr)
        return 2
    except (NotWritten, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def parser_of(
    name: str, description: str, parts: Sequence[str], folder: Path, quick: str
) -> argparse.ArgumentParser:
    """Of `python -m analysis.probes.NAME`; `quick` says what --quick does."""
    parser = argparse.ArgumentParser(
        prog=f"python -m analysis.probes.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument(
        "--algorithms", nargs="+", choices=list(ALGORITHMS), default=list(ALGORITHMS)
    )
    parser.add_argument("--parts", nargs="+", choices=list(parts), default=list(parts))
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--output", type=Path, help=f"folder (default: {folder})")
    return parser


def prepared_device(name: str) -> Any:
    """The `torch.device` that an option named, with this process at one thread; None, and a line
    on standard error, for one that is not there."""
    prepare_process([])
    import torch

    from algorithms.device import resolve_device

    torch.set_num_threads(1)
    try:
        return resolve_device(name)
    except ValueError as error:
        print(error, file=sys.stderr)
        return None


def shown(name: str, arguments: Sequence[str]) -> list[str]:
    """The command as a record shows it: without folders of this machine."""
    places = ["DIR" if Path(argument).is_absolute() else argument for argument in arguments]
    return ["python", "-m", f"analysis.probes.{name}", *places]
