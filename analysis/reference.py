"""What a return is held against: floors of thoughtless policies, published scores, claims.

Normalised scores are fixed by them: 0 is the random policy (100 episodes, measured by
`analysis.probes.floors`), 1 the published SAC after a million transitions. Both belong to one
version of an environment; another version of it is not normalised.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.artefacts import PROBES
from analysis.derived import listed
from analysis.records import RecordError

FLOORS = PROBES / "floors" / "floors.csv"
REFERENCE_SCORES = Path("paper/reference_scores.csv")
SCORE_COLUMNS = ("source", "algorithm", "env", "env_version", "mean", "use")
FLOOR_COLUMNS = ("env", "policy", "episode", "return")

NO_FLOOR = "no random policy measured"


class Floors(NamedTuple):
    """Mean returns of policies that look at nothing."""

    random: float
    """Uniformly random actions."""
    zero: float
    """The centre of the action box at every step."""
    episodes: int
    """Of each."""


class Claim(NamedTuple):
    """A return as a third party's digest of the paper prints it."""

    value: float
    env_version: str
    """Which the digest speaks of; a result of another version is compared with reserve."""
    source: str


class Normalisation(NamedTuple):
    """The ends of the scale of normalised scores of an environment."""

    zero: float
    one: float

    def __call__(self, returns):
        """Normalised scores of returns."""
        return (returns - self.zero) / (self.one - self.zero)


def split(env: str) -> tuple[str, str]:
    """('Hopper', 'v4') of 'Hopper-v4'."""
    name, _, version = env.rpartition("-")
    return name, version


def floors(env: str) -> Floors | None:
    """Of an environment's full id; None where they were not measured.

    RecordError if the file is missing or damaged.
    """
    table = _table(FLOORS, FLOOR_COLUMNS)
    measured = _floors_document()
    returns = table[table["env"] == env]
    if returns.empty:
        return None
    means = returns.groupby("policy")["return"].agg(["mean", "size"])
    mean = means["mean"]
    if set(means.index) != {"random", "zero"} or not np.isfinite(mean).all():
        raise RecordError(FLOORS, f"rows of {env} are not finite ones of random and zero actions")
    episodes = measured.get(env, int(means["size"].max()))
    if (means["size"] != episodes).any():
        raise RecordError(FLOORS, f"rows of {env} are not {episodes} episodes of each policy")
    return Floors(float(mean["random"]), float(mean["zero"]), int(means["size"].min()))


def reference_scores() -> pd.DataFrame:
    """`paper/reference_scores.csv`; RecordError if missing or without its columns."""
    return _table(REFERENCE_SCORES, SCORE_COLUMNS)


def claim(algorithm: str, env: str) -> Claim | None:
    """What the digest claims that an algorithm returns in an environment, whatever its version."""
    scores = reference_scores()
    name, _ = split(env)
    rows = scores.query("use == 'claimed' and algorithm == @algorithm and env == @name")
    if rows.empty:
        return None
    row = rows.iloc[0]
    return Claim(float(row["mean"]), row["env_version"], row["source"])


def normalisation(env: str) -> Normalisation | str:
    """The scale of normalised scores, or the reason why the environment has none."""
    scores = reference_scores()
    name, version = split(env)
    rows = scores.query("use == 'normalisation' and env == @name and env_version == @version")
    if rows.empty:
        return "no published SAC score"
    floor = floors(env)
    if floor is None:
        return NO_FLOOR
    return Normalisation(floor.random, float(rows.iloc[0]["mean"]))


def source_of_one(environments: Iterable[str]) -> str:
    """Whose scores are 1 in normalised scores of environments, as `paper/sources.csv` calls them;
    several in words."""
    scores = reference_scores()
    scores = scores[scores["use"] == "normalisation"]
    ids = scores["env"] + "-" + scores["env_version"]
    found = list(scores.loc[ids.isin(list(environments)), "source"].unique())
    return listed(found) if found else ""


def _floors_document() -> dict[str, int]:
    """Episodes of each policy by environment, as the document beside the floors has them; none
    where there is no document. RecordError if it is damaged or of another table."""
    file = FLOORS.with_suffix(".json")
    try:
        document = json.loads(file.read_bytes())
        told = document.get("table_sha256")  # Older ones have none.
        is_own = told in (None, hashlib.sha256(FLOORS.read_bytes()).hexdigest())
        parts = document["environments"].items()
        episodes = {env: int(part["configuration"]["episodes"]) for env, part in parts}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(file, f"{type(error).__name__}: {str(error)[:200]}") from None
    if not is_own:
        raise RecordError(FLOORS, f"is not the table that {file.name} is of; measure it again")
    return episodes


def _table(file: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """A table with at least `columns`; RecordError if there is none."""
    try:
        table = pd.read_csv(file, float_precision="round_trip")
    except FileNotFoundError:
        raise RecordError(file, "missing") from None
    except (ValueError, OSError) as error:
        raise RecordError(file, str(error).splitlines()[0]) from None
    absent = [name for name in columns if name not in table]
    if absent:
        raise RecordError(file, f"has no column {absent[0]}")
    return table
