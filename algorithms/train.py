"""Command line of the training loop: `python -m algorithms.train --help`.

Threads and the folder of compiled code are set before torch is loaded, so it is imported late here.
"""

import argparse
import contextlib
import dataclasses
import io
import os
import re
import sys
import time
from pathlib import Path
from typing import Any, Literal

from algorithms import ALGORITHMS
from algorithms.options import DEFAULTS, Refused, known_algorithm, resolve_configuration

PROGRAM = "python -m algorithms.train"


@dataclasses.dataclass(frozen=True)
class Options:
    """What to run and where. Give --algorithm NAME --help for that algorithm's hyperparameters."""

    algorithm: str
    """Name of a registered algorithm."""
    env: str
    """Gymnasium id, such as Hopper-v4; actions have to be a box, observations a flat box."""
    seed: int
    """Of the whole run: environments, networks, actions, replay, evaluation. At least 0."""
    output: Path
    """Folder for the record: evaluations.csv, metrics.csv, policy.pt and, last, run.json; until
    then for checkpoints, from which the same command goes on."""
    transitions: int = DEFAULTS["transitions"]
    """Environment transitions, warm-up included."""
    num_envs: int = DEFAULTS["num_envs"]
    """Environments stepped side by side."""
    warm_up: int | None = None
    """Transitions of uniformly random actions before learning, for the methods that have them;
    10,000 but at most a fifth of the run where not given."""
    evaluate_every: int | None = None
    """Transitions from one evaluation to the next, counted back from the end of the run; 10,000
    but at most a fifth of the run where not given. There is one at 0, untrained, as well."""
    evaluation_episodes: int = DEFAULTS["evaluation_episodes"]
    """Episodes of an evaluation."""
    updates_per_step: int = DEFAULTS["updates_per_step"]
    """Updates for each step of all environments (off-policy methods); 5 with 5 environments is one
    a transition."""
    device: str = "auto"
    """auto (CUDA where it is present, else the CPU), cpu, cuda or cuda:N."""
    compile: bool = True
    """Compile hot code, which takes half a minute once; without a C++ compiler nothing is."""
    threads: int = 1
    """Threads that torch computes with; runs side by side need no more than one each."""
    checkpoint_seconds: float = 300.0
    """Seconds from one checkpoint to the next."""
    when_locked: Literal["refuse", "wait"] = "refuse"
    """What to do if another process is at work in the output folder; after waiting for it, its
    record is taken if it is that of this run."""
    tensorboard: Path | None = None
    """Folder to write TensorBoard's logs to as well (needs the extra `tensorboard`)."""


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; returns the exit status."""
    began = time.perf_counter()
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        prepare_process(arguments)
        options, configuration = parse(arguments)
        from algorithms.session import Session

        # A record holds no folders of the machine it was made on.
        shown = [re.sub(r"^(--[^=]*=)?/.*", r"\1DIR", argument) for argument in arguments]
        return Session(configuration, options, [*PROGRAM.split(), *shown]).run(began)
    except Refused as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2


def prepare_process(arguments: list[str]) -> None:
    """Set what torch and its libraries read from the environment when they are loaded."""
    threads = _early(arguments, "--threads", default="1")
    if not threads.isdecimal() or not 1 <= int(threads) <= 1024:
        raise Refused(f"threads is '{threads}', not an integer between 1 and 1024")
    for library in ("OMP", "MKL", "OPENBLAS"):
        os.environ[f"{library}_NUM_THREADS"] = threads
    # One process a core: the workers that torch would start for compiling outlive their use.
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    if os.access(existing, os.W_OK):  # else torch's own choice, a folder for temporary files
        cache = cache / "langevin-q-suite" / "inductor"
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache))
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # for the same bytes twice


def _early(arguments: list[str], option: str, default: str | None) -> str | None:
    """The value of one option, before the others can be known."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(option, nargs="?", const="", default=default, dest="value")
    return parser.parse_known_args(arguments)[0].value


def parse(arguments: list[str]) -> tuple[Options, dict[str, Any]]:
    """Options and the resolved configuration. Raises Refused; `--help` ends the process."""
    import tyro

    name = _early(arguments, "--algorithm", default=None)
    shape: list[tuple] = [("run", Options)]
    try:
        if name is not None:
            configuration = known_algorithm(name).Configuration
            _check_names(configuration)
            shape.append((name, configuration, dataclasses.field(default_factory=configuration)))
        kind = dataclasses.make_dataclass("Arguments", shape)
        parsed = _without_boxes(
            lambda: tyro.cli(
                kind,
                args=arguments,
                prog=PROGRAM,
                description="Train one algorithm on one environment and leave a record of it. "
                f"Registered algorithms: {', '.join(ALGORITHMS)}.",
                config=(tyro.conf.OmitArgPrefixes,),
            )
        )
        options: Options = parsed.run
        names = (
            "algorithm env seed transitions num_envs warm_up evaluate_every evaluation_episodes "
            "updates_per_step"
        )
        asked = {field: getattr(options, field) for field in names.split()}
        settings = dataclasses.asdict(getattr(parsed, name))
        if not options.checkpoint_seconds >= 0:
            raise ValueError(f"checkpoint_seconds is {options.checkpoint_seconds}, less than 0")
        return options, resolve_configuration(**asked, settings=settings)
    except (ValueError, TypeError) as error:
        raise Refused(error) from None


def _check_names(configuration: type) -> None:
    taken = {field.name for field in dataclasses.fields(Options)}
    for field in dataclasses.fields(configuration):
        if field.name in taken:
            raise ValueError(
                f"{configuration.__module__}: '{field.name}' is an option of every run"
            )


def _without_boxes(parse_arguments):
    """What `parse_arguments` returns; its complaint, which fills a box of several lines, becomes
    Refused with one."""
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return parse_arguments()
    except SystemExit as ended:
        if not ended.code:  # --help
            _flush()
            raise
    except BrokenPipeError:  # --help | head
        _flush()
        sys.exit(0)
    # A title, then paragraphs between rules; lines of a box where the terminal can show them.
    lines = complaint.getvalue().strip().splitlines()[1:]
    told = re.sub(r"[╭╮╰╯│]", " ", "\n".join(lines)).split("For full helptext")[0]
    parts = (" ".join(part.split()) for part in re.split("[─-]{10,}", told))
    said, *more = [part for part in parts if part]
    if said.startswith("Missing from"):
        said = "missing " + ", ".join(re.findall(r"^ *(--[a-z][\w-]*)", told, re.MULTILINE))
    near = next((re.search(r"--[\w-]+", part) for part in more if "Perhaps" in part), None)
    raise Refused(f"{said.rstrip('.')}; the nearest known one is {near[0]}" if near else said)


def _flush() -> None:
    """Write what is left to standard output, or nowhere once its reader is gone."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
