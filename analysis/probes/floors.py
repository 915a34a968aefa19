"""Measures what a return is worth: episodes of uniformly random actions and of zero actions.

    python -m analysis.probes.floors [--environments ID ...]

By default every environment of the protocol. Adds to or replaces the rows of those environments in
`results/probes/floors/floors.csv` (env, policy, episode, return, length) and, beside it, what they
were measured with and the digest of the rows in `floors.json`. The rows are a record: same seed and
versions, same bytes.
"""

import argparse
import hashlib
import json
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from algorithms.evaluation import constant_policy_returns, random_policy_returns
from algorithms.files import written_whole
from algorithms.record import code_state, machine, versions
from analysis.artefacts import PROBES
from analysis.probes.command import exit_status
from envs import EnvironmentRefused

FOLDER = PROBES / "floors"
PROTOCOL = Path("config/protocol.yaml")
EPISODES = 100
SEED = 0
COLUMNS = ["env", "policy", "episode", "return", "length"]


def protocol_environments(protocol: Path = PROTOCOL) -> list[str]:
    """Every environment that a scale or study of the protocol names, in order."""
    document = yaml.safe_load(protocol.read_text())
    parts = [*document["scales"].values(), *document.get("studies", {}).values()]
    return list(dict.fromkeys(env for part in parts for env in part.get("environments", [])))


def episode_seeds(env: str, episodes: int = EPISODES, seed: int = SEED) -> list[int]:
    """Seeds of the episodes of an environment; both policies start from the same ones."""
    key = (zlib.crc32(b"floors"), zlib.crc32(env.encode()))
    sequence = np.random.SeedSequence(seed, spawn_key=key)
    return [int(word >> 1) for word in sequence.generate_state(episodes, np.uint64)]


def measure(env: str, episodes: int = EPISODES, seed: int = SEED) -> pd.DataFrame:
    """One row an episode: `random` is uniform in the action box, `zero` is its centre.

    Raises EnvironmentRefused.
    """
    seeds = episode_seeds(env, episodes, seed)
    rows = [
        (env, policy, episode.episode, episode.return_, episode.length)
        for policy, returns in (
            ("random", random_policy_returns(env, seeds)),
            ("zero", constant_policy_returns(env, seeds)),
        )
        for episode in returns
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def conditions(env: str, episodes: int, seed: int) -> dict:
    """What the rows of an environment depend on."""
    return {
        "configuration": {"env": env, "episodes": episodes, "seed": seed},
        "command": f"python -m analysis.probes.floors --environments {env}",
        **code_state(),
        "versions": versions(),
        "machine": machine(),
        "device": "cpu",
    }


def write(folder: Path, tables: Sequence[pd.DataFrame], documents: dict[str, dict]) -> None:
    """Put the rows and conditions of some environments among those that are there, the document,
    with the table's digest, last. Raises NotWritten."""
    rows, conditions_file = folder / "floors.csv", folder / "floors.json"
    if rows.exists():
        kept = pd.read_csv(rows, float_precision="round_trip")
        tables = [kept[~kept["env"].isin(list(documents))], *tables]
        documents = json.loads(conditions_file.read_text())["environments"] | documents
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.concat(tables).sort_values(["env", "policy", "episode"], kind="stable")
    content = table.to_csv(index=False, lineterminator="\n").encode()
    digest = hashlib.sha256(content).hexdigest()
    whole = {"environments": dict(sorted(documents.items())), "table_sha256": digest}
    text = json.dumps(whole, indent=1) + "\n"
    for file, part in ((rows, content), (conditions_file, text.encode())):
        with written_whole(file) as beside:
            beside.write_bytes(part)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; 2 for an environment that cannot be run, with nothing written, 1 where the disk
    did not take what was."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis.probes.floors", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--environments", nargs="+", metavar="ID", help="default: the protocol's")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder (default: %(default)s)")
    options = parser.parse_args(arguments)
    tables, documents = [], {}
    for env in options.environments or protocol_environments():
        try:
            tables.append(measure(env))
        except EnvironmentRefused as error:
            print(error, file=sys.stderr)
            return 2
        documents[env] = conditions(env, EPISODES, SEED)
        means = tables[-1].groupby("policy")["return"].mean()
        print(f"{env}: random {means['random']:.1f}, zero actions {means['zero']:.1f}")
    return exit_status(lambda: write(options.output, tables, documents))


if __name__ == "__main__":
    sys.exit(main())
