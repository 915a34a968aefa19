"""Reads `paper/claims.yaml`: what is claimed, of what evidence, and the rule that decides.

Whatever stands there, reading ends with declarations or with `RecordError`, which names the claim
and the reason. What each key means says `paper/claims.schema.yaml`.
"""

import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from analysis import reference
from analysis.names import readable
from analysis.records import RecordError
from analysis.statistics import MINIMUM_SEEDS

CLAIMS = Path("paper/claims.yaml")
SCHEMA = Path(__file__).resolve().parent.parent / "paper" / "claims.schema.yaml"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
OWN = "own"
"""In `scales`: the scale that the table is of."""
CHOSEN = "chosen"
"""In `where`: the chosen comparator."""


COLUMN_WORDS = {"env": "environment", "claimed": "the claimed return"}


@dataclasses.dataclass(frozen=True)
class Declaration:
    """A row of the table of claims, before anything is read."""

    id: str
    topic: str
    statement: str
    family: str
    """What all rows of a claim say together; the statement where there is one."""
    source: str
    scale: str
    """The scale or study whose tables decide it."""
    tests: tuple[dict[str, Any], ...]
    """As the schema has them, names of `for_each` filled in; none for what nobody tests."""
    untested: str
    beside: str
    weakness: str


def read_claims(file: str | Path = CLAIMS) -> dict[str, Any]:
    """The whole document, checked by its schema. Raises RecordError."""
    try:
        document = yaml.load(Path(file).read_bytes(), _LOADER)
    except FileNotFoundError:
        raise RecordError(file, "missing") from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:300]
        raise RecordError(file, f"not YAML: {reason}") from None
    error = jsonschema.exceptions.best_match(_validator().iter_errors(document))
    if error is not None:
        path = list(error.absolute_path)
        if path[:1] == ["claims"] and len(path) > 1:
            claim = document["claims"][path[1]]
            named = claim.get("id") if isinstance(claim, Mapping) else None
            path[:2] = [f"claim {named}" if named else f"claims.{path[1]}"]
        where = ".".join(map(str, path))
        raise RecordError(file, f"{where}: {' '.join(error.message.split())[:300]}")
    for claim in document["claims"]:
        _check_names(file, claim, document)
    for identity, count in Counter(claim["id"] for claim in document["claims"]).items():
        if count > 1:
            raise RecordError(file, f"claim {identity} stands twice")
    ids = [claim["id"] for claim in document["claims"]]
    for change in document["amendments"]:
        for name in change["claims"]:
            if not any(identity.split("-{")[0] == name for identity in ids):
                raise RecordError(file, f"amendments: no claim is called '{name}'")
    return document


@cache
def _validator():
    return jsonschema.Draft202012Validator(yaml.safe_load(SCHEMA.read_bytes()))


def _check_names(file: str | Path, claim: Mapping, document: Mapping) -> None:
    """What a schema cannot say: that what is named is declared."""

    def refuse(reason: str):
        raise RecordError(file, f"claim {claim['id']}: {reason}")

    if claim["topic"] not in document["topics"]:
        refuse(f"unknown topic '{claim['topic']}'")
    for test in claim.get("tests", []):
        evidence = document["evidence"].get(test["evidence"])
        if evidence is None:
            refuse(f"evidence '{test['evidence']}' is not declared")
        for column in columns_of(test):
            if column not in evidence["columns"] and column != "env_name":
                refuse(f"column '{column}' is not declared of {test['evidence']}")
        kinds = ("count" in test) + ("relative_to" in test and "count" not in test)
        if not kinds and "value" not in test:
            refuse("a test needs a value")
        kinds += "above_all" in test or test.get("is_count", False)
        if not kinds and not {"low", "high"} <= test.keys():
            refuse("a test needs low and high, unless it counts or is over rows")
        if not kinds and "replicates" not in test:
            refuse("a test needs replicates, unless it counts or is over rows")
        if "refuted" in test and _overlap(test["supported"], test["refuted"]):
            refuse("an interval could lie in both its regions")


def _overlap(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    """Whether an interval could lie in both."""
    if "value_at_most" in one and other.get("above", -math.inf) >= one["value_at_most"]:
        return False
    low = max(region.get("above", -math.inf) for region in (one, other))
    return low < min(region.get("below", math.inf) for region in (one, other))


def columns_of(test: Mapping[str, Any]) -> Iterator[str]:
    """Every column of its evidence that a test reads."""
    for key in ("value", "low", "high", "p_value", "degrees_of_freedom", "detectable", "of"):
        if key in test:
            yield test[key]
    for key in ("enters", "count", "named_by"):
        if key in test:
            yield test[key]
    for key in ("where", "may_lack", "relative_to", "per", "above_all", "replicates", "budget"):
        yield from test.get(key, ())
    for pair in test.get("censored", {}).get("arms", ()):
        yield from pair
    if "void_where" in test:
        yield test["void_where"]["column"]


def declarations(document: Mapping[str, Any], own: str, transitions: int) -> list[Declaration]:
    """A row for each claim, combination of its `for_each` and scale, in order; `own` is the scale
    that the table is of, and of how many transitions its runs are."""
    rows = []
    for claim in document["claims"]:
        for names in _combinations(claim.get("for_each", {})):
            scales = claim.get("scales", [OWN])
            named = [scale for scale in scales if scale != OWN]
            for scale in scales:
                if scale == OWN and own in named:
                    continue
                at = f" at {transitions:,} transitions" if scale == OWN else ""
                identity = claim["id"].format(**names)
                rows.append(
                    Declaration(
                        id=f"{identity}-{own}" if scale == OWN and named else identity,
                        topic=claim["topic"],
                        statement=" ".join(claim["statement"].format(**names, at=at).split()),
                        family=" ".join(
                            claim.get("family", claim["statement"]).format(**names, at=at).split()
                        ),
                        source=claim["source"],
                        scale=own if scale == OWN else scale,
                        tests=tuple(_fill(test, names) for test in claim.get("tests", ())),
                        untested=claim.get("untested", ""),
                        beside=" ".join(claim.get("beside", "").split()),
                        weakness=" ".join(claim["weakness"].split()),
                    )
                )
    return rows


def _combinations(for_each: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    choices = []
    for name, values in for_each.items():
        if values == "digest_returns":
            values = _digest_returns()
        choices.append([v if isinstance(v, Mapping) else {name: v} for v in values])
    for combination in itertools.product(*choices):
        yield {name: value for part in combination for name, value in part.items()}


def _digest_returns() -> list[dict[str, Any]]:
    """Every return that the digest prints."""
    scores = reference.reference_scores()
    claimed = scores[scores["use"] == "claimed"]
    return [
        {
            "algorithm": row.algorithm,
            "name": readable(row.algorithm, row.algorithm),
            "env": row.env,
            "env_version": row.env_version,
            "claimed": float(row.mean),
        }
        for row in claimed.itertuples()
    ]


def _fill(value: Any, names: Mapping[str, Any]) -> Any:
    """`value` with `{name}` replaced by names; a string that is nothing else keeps the type."""
    if isinstance(value, Mapping):
        return {key: _fill(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [_fill(inner, names) for inner in value]
    if not isinstance(value, str):
        return value
    alone = value[1:-1] if value.startswith("{") and value.endswith("}") else None
    return names[alone] if alone in names else value.format(**names)


def rule(test: Mapping[str, Any]) -> str:
    """The rule of a test in words."""
    exact = "count" in test or "relative_to" in test or test.get("is_count", False)
    several = "per" in test
    unit = f" times {COLUMN_WORDS.get(test['of'], test['of'])}" if "of" in test else ""
    what = "the value" if exact else "the 95 % interval"
    cells = " and ".join(COLUMN_WORDS.get(name, name) for name in test.get("per", ()))
    each = f" for every {cells}" if several else ""
    told = f"supported if {what} is {_words(test['supported'])}{unit}{each}"
    if "value_at_most" in test["supported"]:
        told += f" and the value at most {test['supported']['value_at_most']:g}"
    refuted = f" {_words(test['refuted'])}{unit}" if "refuted" in test else " outside"
    told += f"; not supported if {what} is{refuted}"
    if several:
        told += " for any of them" + ("" if exact else " (Holm)")
    if "void_where" in test:
        told += f"; not tested where {test['void_where']['reason']}"
    if "censored" in test:
        arm = "either arm" if test["censored"]["of"] == "either" else "every arm"
        told += f"; not tested if more than half of {arm} never got there"
    if not exact:
        told += f"; from {test.get('fewest', MINIMUM_SEEDS)} replicates on"
    if "enters" in test:
        told += " and enough environments"
    return told


def _words(region: Mapping[str, float]) -> str:
    low, high = region.get("above"), region.get("below")
    if low is not None and high is not None:
        return f"within {low:g} and {high:g}"
    return f"above {low:g}" if low is not None else f"below {high:g}"


def scales_read(document: Mapping[str, Any]) -> list[str]:
    """Scales and studies that claims name, beside that which the table is of."""
    named = [scale for claim in document["claims"] for scale in claim.get("scales", ())]
    named.append(document["chosen_comparator"]["study"])
    return [scale for scale in dict.fromkeys(named) if scale != OWN]


def evidence_read(document: Mapping[str, Any], scale: str, own: str) -> list[str]:
    """Evidence that claims read of a scale, where the table is of the scale `own`."""
    wanted = {scale} | ({OWN} if scale == own else set())
    names = [
        test["evidence"]
        for claim in document["claims"]
        if wanted & set(claim.get("scales", [OWN]))
        for test in claim.get("tests", ())
    ]
    chosen = document["chosen_comparator"]
    if scale == chosen["study"]:
        names.append(chosen["evidence"])
    return list(dict.fromkeys(names))
