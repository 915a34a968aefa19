"""What derived files show, for the paper, the report and `snakemake --report`.

paper/captions/TOPIC/NAME.rst says it of NAME.svg and NAME.csv, in a sentence. TOPIC is one of the
claims', or of `TOPICS`, and is where a file stands; a figure without a caption stands among the
others, under its file's name.
"""

import functools
import sys
from pathlib import Path
from typing import Any, NamedTuple

from analysis.artefacts import FIGURES
from analysis.declarations import read_claims
from analysis.records import RecordError

CAPTIONS = Path("paper/captions")
TOPICS = {"verdicts": "Verdicts", "runs": "Runs and their settings", "other": "Other figures"}
"""Beside those of the claims."""


class Caption(NamedTuple):
    """Of a derived file. `topic` is a folder's name."""

    topic: str
    text: str


class Picture(NamedTuple):
    """A figure that is there."""

    file: Path
    caption: Caption


def headings() -> dict[str, str]:
    """Of each topic. RecordError if the claims cannot be read."""
    return read_claims()["topics"] | TOPICS


def read_captions() -> dict[str, Caption]:
    """By the name of the file that is shown, without its ending. RecordError for one in a folder
    that is no topic's."""
    known, found = headings(), {}
    for file in sorted(CAPTIONS.glob("*/*.rst")):
        topic = file.parent.name
        if topic not in known:
            raise RecordError(file, f"stands in no topic's folder ({', '.join(known)})")
        found[file.stem] = Caption(topic, " ".join(file.read_text().split()))
    return found


def pictures(folder: Path) -> list[Picture]:
    """Every figure under `folder`: by topic, those of every scale first."""
    captions, topics = read_captions(), list(headings())
    found = [
        Picture(file, captions.get(file.stem) or unnamed(file.stem))
        for file in folder.glob("figures/*.svg")
    ]

    def place(picture: Picture) -> tuple[int, int, str]:
        name = picture.file.stem
        rank = FIGURES.index(name) if name in FIGURES else len(FIGURES)
        return topics.index(picture.caption.topic), rank, name

    return sorted(found, key=place)


def unnamed(stem: str) -> Caption:
    """Of a file that has none: `Cost of steps.` of `cost_of_steps`."""
    return Caption("other", f"{stem[:1].upper()}{stem[1:].replace('_', ' ')}.")


@functools.cache
def _of_workflow() -> tuple[dict[str, str], dict[str, Caption]]:
    try:
        return headings(), read_captions()
    except RecordError as error:
        print(error, file=sys.stderr, flush=True)
        sys.exit(2)


def heading_of(name: str) -> str:
    """For the workflow: that of the topic of what is called so."""
    known, found = _of_workflow()
    return known[(found.get(name) or unnamed(name)).topic]


def text_of(name: str) -> str:
    """For the workflow: what is called so shows."""
    return (_of_workflow()[1].get(name) or unnamed(name)).text


def if_captioned(file: str) -> Any:
    """For the workflow: an output, shown by `snakemake --report` where it has a caption."""
    from snakemake.io import report

    name = Path(file).stem
    caption = _of_workflow()[1].get(name)
    if caption is None or file.endswith(".md"):
        return file
    # Snakemake looks beside the rule's file.
    place = f"../{CAPTIONS}/{caption.topic}/{name}.rst"
    return report(file, caption=place, category=heading_of(name))
