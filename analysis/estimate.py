"""How long training will take, from the records of runs like those to come."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

SEPARATE = ("env", "seed", "transitions", "warm_up", "evaluate_every", "evaluation_episodes")
"""Fields in which runs may differ and still take about the same time a transition."""


def describe_cost(
    configurations: list[Mapping[str, Any]],
    documents: Iterable[Mapping[str, Any]],
    defaults: Mapping[str, Mapping[str, Any]],
) -> str:
    """About how many hours the runs of these configurations take on one core each, in words.

    `documents` are the run.json of all records at hand, any scale's; `defaults` are of settings, by
    algorithm, for a record that is older than a setting. A run is taken to need, for
    each transition, the median of what the records of its like needed: those equal in all but
    SEPARATE, and of the same environment where there are any. Of the rest nothing is said.
    """
    known, unknown = 0.0, 0
    rates = _seconds_per_transition(documents, defaults)
    for configuration in configurations:
        like, env = _like(configuration, defaults), configuration.get("env")
        found = rates.get((like, env)) or rates.get((like, None))
        if found:
            known += statistics.median(found) * configuration["transitions"]
        else:
            unknown += 1
    count = len(configurations)
    if unknown == count:
        return "nothing like them is recorded yet, so how long they take is not known"
    hours = known / 3600
    told = f"about {hours:.1f} hours" if hours >= 0.95 else f"about {known / 60:.0f} minutes"
    told += " of one core, divided by the jobs at a time (from records at hand)"
    return told if not unknown else f"{told}, without {unknown} like nothing that is recorded"


def _seconds_per_transition(
    documents: Iterable[Mapping[str, Any]], defaults: Mapping[str, Mapping[str, Any]]
) -> dict[tuple[str, str | None], list[float]]:
    rates = defaultdict(list)
    for document in documents:
        configuration = document["configuration"]
        if document["status"] != "complete":
            continue
        rate = document["wall_seconds"] / configuration["transitions"]
        like = _like(configuration, defaults)
        rates[like, configuration.get("env")].append(rate)
        rates[like, None].append(rate)
    return rates


def _like(configuration: Mapping[str, Any], defaults: Mapping[str, Mapping[str, Any]]) -> str:
    own = defaults.get(configuration["algorithm"], {}) | configuration.get("settings", {})
    whole = {k: v for k, v in configuration.items() if k not in (*SEPARATE, "settings")}
    return repr(sorted((k, repr(v)) for k, v in (whole | own).items()))
