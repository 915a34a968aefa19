"""Puts one mistake at a time into the updates, and around them, and shows which tests notice.

    python tests/mutations.py [--only WORD]

Works on a copy of the repository; the tree itself is left alone. Prints a table and ends with
status 1 if a mutation survives, or if its lines are no longer there. Takes minutes.
"""

import argparse
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mutated import MUTATIONS, Mutation
from mutated_around import AROUND
from repository import copy

COPIED = ("algorithms", "envs", "analysis", "config", "tests", "paper", "pyproject.toml")


def outcome(mutation: Mutation) -> str:
    """'noticed', or what is wrong: the line is gone, the tests passed or did not run."""
    with tempfile.TemporaryDirectory() as folder:
        copy(COPIED, Path(folder))
        path = Path(folder) / mutation.file
        text = path.read_text()
        if text.count(mutation.old) != 1:
            return f"line found {text.count(mutation.old)} times"
        path.write_text(text.replace(mutation.old, mutation.new))
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider"]
        run = subprocess.run(
            command + shlex.split(mutation.tests), cwd=folder, capture_output=True, text=True
        )
        # 1: tests failed. Anything else (a crash, no test selected) is not a notice.
        return {0: "SURVIVED", 1: "noticed"}.get(run.returncode, f"pytest: {run.returncode}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="mutations whose description holds this word")
    parser.add_argument("--jobs", type=int, default=2, help="mutations tried at a time")
    arguments = parser.parse_args()
    chosen = [m for m in (*MUTATIONS, *AROUND) if arguments.only.lower() in m.what.lower()]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        results = list(pool.map(outcome, chosen))
    width = max(len(m.what) for m in chosen)
    for mutation, result in zip(chosen, results, strict=True):
        print(f"{mutation.what:{width}}  {result}")
    survived = sum(result != "noticed" for result in results)
    print(f"{len(chosen) - survived} of {len(chosen)} noticed")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
