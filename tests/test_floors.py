"""Floors are whole or refused: of a file that was cut, they would be of fewer episodes."""

import json
from pathlib import Path

import pandas as pd
import pytest
from studied import elsewhere

from analysis import reference
from analysis.probes import floors
from analysis.records import RecordError

__all__ = ["elsewhere"]  # a fixture that every test here uses
HOPPER = "Hopper-v4"


@pytest.fixture
def place() -> Path:
    """Hopper's committed floors, written anew."""
    file = Path(reference.FLOORS)
    rows = pd.read_csv(file, float_precision="round_trip").query("env == @HOPPER")
    file.unlink()
    floors.write(file.parent, [rows], {HOPPER: {"configuration": {"env": HOPPER, "episodes": 100}}})
    return file.parent


def change(file: Path, **changes) -> None:
    """Keys of the document; None takes one away."""
    document = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in document.items() if value}))


def test_floors_are_of_as_many_episodes_as_their_document_says(place):
    file, document = place / "floors.csv", place / "floors.json"
    whole, text = reference.floors(HOPPER), file.read_text()
    assert whole.episodes == 100
    lines = text.splitlines(keepends=True)
    file.write_text("".join(lines[:165]))
    with pytest.raises(RecordError, match="floors.csv: is not the table that floors.json is of"):
        reference.floors(HOPPER)
    change(document, table_sha256=None)  # as before there were digests
    with pytest.raises(RecordError, match="rows of Hopper-v4 are not 100 episodes of each policy"):
        reference.floors(HOPPER)
    halves = [line for line in lines[1:] if int(line.split(",")[2]) < 50]
    file.write_text("".join([lines[0], *halves]))
    with pytest.raises(RecordError, match="rows of Hopper-v4 are not 100 episodes of each policy"):
        reference.floors(HOPPER)
    file.write_text(text)
    assert reference.floors(HOPPER) == whole


def test_floors_without_their_document_are_of_equally_many_episodes(place):
    (place / "floors.json").unlink()
    assert reference.floors(HOPPER).episodes == 100
    file = place / "floors.csv"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:165]))
    with pytest.raises(RecordError, match="are not 100 episodes of each policy"):
        reference.floors(HOPPER)


@pytest.mark.parametrize("content", ["[]", "{", '{"environments": {"Hopper-v4": {}}}'])
def test_a_document_that_is_damaged_is_refused(place, content):
    (place / "floors.json").write_text(content)
    with pytest.raises(RecordError, match="floors.json: "):
        reference.floors(HOPPER)


def test_floors_of_one_environment_leave_the_others_as_they_are(place):
    before = (place / "floors.csv").read_bytes()
    rows = pd.read_csv(place / "floors.csv", float_precision="round_trip")
    other = {"configuration": {"env": "Point-v0", "episodes": 100}}
    floors.write(place, [rows.assign(env="Point-v0")], {"Point-v0": other})
    assert reference.floors(HOPPER)[:2] == reference.floors("Point-v0")[:2]
    assert (place / "floors.csv").read_bytes().startswith(before)
    assert sorted(file.name for file in place.iterdir()) == ["floors.csv", "floors.json"]
