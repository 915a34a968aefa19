"""Compiles `paper/paper.typ` on the results of a scale, every number read from them.

    python -m analysis.paper [--scale NAME] [--output FILE]

Same results, same bytes. The output is paper/paper.pdf for the protocol's default scale, and
paper.pdf in the folder of any other.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import typst

from analysis.artefacts import paper_of
from analysis.bandit import EXACT
from analysis.captions import Picture, pictures
from analysis.claims_page import amendment, of_families, tally
from analysis.declarations import read_claims
from analysis.probes import crossing
from analysis.records import RecordError, load_plan
from analysis.statistics import SMOOTHING_WINDOW

SOURCE = Path("paper/paper.typ")
DRAWN = ("value", "first", "second")
"""Columns of figures that a study's gap leaves empty."""


def build(folder: Path) -> bytes:
    """The PDF on the results in `folder`; figures that no record fills are left out.

    RecordError for a results file that lacks or has changed, with what the text wanted of it.
    """
    document = read_claims()
    files = sorted(file.name for file in folder.glob("*.csv"))
    inputs = {
        "folder": f"/{folder.as_posix()}",
        "files": json.dumps(files),
        "pictures": json.dumps(
            [
                {
                    "name": picture.file.stem,
                    "topic": picture.caption.topic,
                    "caption": picture.caption.text,
                }
                for picture in pictures(folder)
                if shows_a_record(picture)
            ]
        ),
        "averaged": json.dumps({"evaluations": SMOOTHING_WINDOW, "budgets": crossing.WINDOW}),
        "tallies": json.dumps(tallies(folder / "claims.csv")),
        "topics": json.dumps(document["topics"]),
        "amendments": json.dumps([amendment(change) for change in document["amendments"]]),
    }
    try:
        return typst.compile(
            str(SOURCE), root=".", sys_inputs=inputs, ignore_system_fonts=True, format="pdf"
        )
    except typst.TypstError as error:
        where = " ".join(str(error.diagnostic).split())
        raise RecordError(SOURCE, f"{error.message} ({where[:400]})") from None


def tallies(file: Path) -> dict[str, dict]:
    """For each verdict, how many rows of the claims have it and of how many claims they are, in
    words. RecordError for a file that lacks or has other columns."""
    try:
        claims = pd.read_csv(file)
        return {
            verdict: {"rows": rows, "families": of_families(claims, verdict)}
            for verdict, rows in tally(claims).items()
        }
    except (OSError, KeyError) as error:
        raise RecordError(file, f"the paper counts its verdicts: {error}") from None


def shows_a_record(picture: Picture) -> bool:
    """Whether any of what the figure draws was measured, by the CSV beside it: without a record a
    study's figure is a frame around its gaps, or around what can be drawn without one.
    A picture that has no CSV is taken for a record.
    """
    source = picture.file.with_suffix(".csv")
    if not source.exists():
        return True
    table = pd.read_csv(source)
    if "algorithm" in table:
        table = table[table["algorithm"] != EXACT]
    drawn = [column for column in DRAWN if column in table]
    return not drawn or bool(table[drawn].notna().any(axis=None))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis.paper", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--scale", help="scale or study (default: the protocol's default)")
    parser.add_argument("--output", type=Path, help="file (default: as described above)")
    options = parser.parse_args(arguments)
    try:
        plan = load_plan(options.scale)
        content = build(Path(plan["folder"]))
    except RecordError as error:
        print(error, file=sys.stderr)
        return 2
    output = options.output or Path(paper_of(plan["folder"]))
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
