"""What the command lines of the probes of times and memory share."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from algorithms import ALGORITHMS
from algorithms.train import prepare_process


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
