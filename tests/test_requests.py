"""What jobs ask a scheduler for: it follows what was measured and what there is to do."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from algorithms import ALGORITHMS
from algorithms.checkpoint import GENERATIONS
from algorithms.replay import Replay
from analysis import requests as requesting
from analysis.protocol import read_protocol
from analysis.requests import LEAST_MINUTES, MARGIN, Request, Requests
from analysis.run_times import UNMEASURED, Times, read_times, training_seconds

ROOT = Path(__file__).resolve().parent.parent
DEFAULTS = {
    "hidden_width": 256,
    "hidden_layers": 3,
    "batch_size": 256,
    "chain_steps": 20,
    "replay_capacity": 1_000_000,
}
CONFIGURATION = {
    "algorithm": "lql",
    "env": "HalfCheetah-v4",
    "seed": 0,
    "transitions": 300_000,
    "num_envs": 5,
    "warm_up": 10_000,
    "updates_per_step": 1,
    "evaluate_every": 10_000,
    "evaluation_episodes": 10,
    "settings": DEFAULTS,
}
"""A run of the desk scale."""
TIMES = Times(
    act=0.006,
    environment=0.001,
    update=0.08,
    evaluation=10.0,
    compilation=70.0,
    eager_act=2.0,
    eager_update=2.5,
    machine="a",
)
NAME = "desk/HalfCheetah-v4/lql/seed0"


def seconds(times=TIMES, settings: dict | None = None, is_compiled=True, **changes) -> float:
    configuration = CONFIGURATION | {"settings": DEFAULTS | (settings or {})} | changes
    return training_seconds(configuration, times, DEFAULTS, (17, 6), is_compiled)


def requests(
    times=TIMES, longest=1440, gpus=0, tell=lambda line: None, retries=None, **changes
) -> Requests:
    """Of a plan of one run."""
    resolved = {
        "runs": {NAME: {"configuration": CONFIGURATION | changes}},
        "defaults": {"lql": DEFAULTS},
        "spaces": {"HalfCheetah-v4": [17, 6]},
    }
    protocol = SimpleNamespace(
        longest_job_minutes=longest, scale=lambda name: SimpleNamespace(compile=True)
    )
    plan = SimpleNamespace(resolve=lambda scale: resolved, protocol=protocol, gpus=gpus)
    return Requests(plan, {"lql": times} if times else {}, tell, retries)


def test_a_run_as_measured_takes_the_sum_of_its_parts():
    vector_steps, updates, evaluations = 60_000, 58_000, 31
    parts = vector_steps * (0.006 + 5 * 0.001) + updates * 0.08 + 70
    evaluating = evaluations * (10 + 1000 * 5 * 0.001 * 10 / 5)
    assert seconds() == pytest.approx(parts + evaluating)


@pytest.mark.parametrize(
    ("changes", "least", "most"),
    [
        ({"transitions": 600_000}, 1.9, 2.1),
        ({"updates_per_step": 5}, 4, 5),
        ({"evaluation_episodes": 100}, 1.5, 2.5),
        ({"settings": {"chain_steps": 40}}, 1.8, 2.0),
        ({"settings": {"batch_size": 512}}, 1.7, 2.0),
        # A quarter of the batch takes more than a quarter of the time.
        ({"settings": {"batch_size": 64}}, 0.5, 0.65),
        ({"is_compiled": False}, 2.0, 2.5),
    ],
)
def test_more_to_do_takes_longer_in_proportion(changes, least, most):
    assert least < seconds(**changes) / seconds() < most


def test_a_request_grows_with_transitions_and_shrinks_with_throughput():
    def asked(**changes) -> int:
        return requests(**changes).of_run(NAME).runtime_minutes

    longer = asked(transitions=600_000)
    quicker = asked(times=dataclasses.replace(TIMES, update=0.02, act=0.0015))
    assert longer > 1.8 * asked()
    assert quicker < 0.6 * asked()
    assert asked() > seconds() / 60
    # A constant is the same on a quicker machine: it is asked for where nothing was measured.
    assert asked(times=None) == asked(times=UNMEASURED) > 2 * asked()


def test_a_run_longer_than_a_job_may_be_asks_for_the_longest_and_goes_on():
    unlimited, limited = requests(longest=10_000), requests(longest=60)
    minutes = unlimited.of_run(NAME).runtime_minutes
    assert minutes > 60 and unlimited.attempts(NAME) == 1
    assert limited.of_run(NAME).runtime_minutes == 60
    assert limited.attempts(NAME) * 60 >= minutes
    assert (limited.attempts(NAME) - 2) * 60 < minutes
    assert requests(longest=1).of_run(NAME).runtime_minutes == 1


def test_a_run_that_needs_more_attempts_than_a_profile_makes_is_told_of_once():
    needed = requests(longest=60).attempts(NAME)
    assert needed > 2
    for retries, count in ((needed - 1, 0), (needed - 2, 1)):
        told = []
        asking = requests(longest=60, tell=told.append, retries=lambda made=retries: made)
        for attempt in (1, 2):
            asking.of_run(NAME, attempt)
        assert len(told) == count
        assert all(f"may take {needed} jobs of 60 min" in t and NAME in t for t in told)


def test_a_run_that_begins_anew_is_given_longer_at_each_attempt():
    of_run = SimpleNamespace(run=NAME)
    goes_on = [requests().runtime(of_run, attempt) for attempt in (1, 2)]
    anew = [requests().runtime_anew(of_run, attempt) for attempt in (1, 2)]
    assert goes_on[0] == goes_on[1] == anew[0] == anew[1] / 2
    assert requests(longest=60).runtime_anew(of_run, 9) == 60


def test_a_short_run_asks_for_little_and_never_for_less_than_starting_takes():
    short = requests(transitions=1000, warm_up=200, evaluate_every=1000, evaluation_episodes=1)
    assert short.seconds(NAME) * MARGIN < LEAST_MINUTES * 60
    assert short.of_run(NAME).runtime_minutes == LEAST_MINUTES


def test_memory_is_that_of_the_replay_and_grows_by_attempts():
    small = requests(transitions=10_000).of_run(NAME)
    large = requests(transitions=5_000_000).of_run(NAME)
    stored = Replay(1_000_000, 17, 6, torch.device("meta"))._stored
    replay_bytes = sum(tensor.nbytes for tensor in stored)
    assert requests(transitions=5_000_000)._replay_bytes(NAME) == replay_bytes
    # One that took the observation for stored once would be short by a third and more.
    assert replay_bytes - stored.next_observation.nbytes < 0.65 * replay_bytes
    assert large.memory_megabytes - small.memory_megabytes > 2.9 * replay_bytes / 1e6
    again = requests(transitions=5_000_000).of_run(NAME, attempt=3)
    assert again == Request(large.runtime_minutes, 3 * large.memory_megabytes, large.disk_megabytes)
    assert requests(gpus=1).of_run(NAME).memory_megabytes > requests().of_run(NAME).memory_megabytes


def test_disk_is_for_the_checkpoints_that_are_kept_and_the_one_being_written():
    assert requesting.REPLAYS_ON_DISK == GENERATIONS + 1


def test_a_method_that_was_not_measured_is_told_once():
    said: list[str] = []
    unmeasured = requests(times=None, tell=said.append)
    unmeasured.of_run(NAME), unmeasured.of_run(NAME, attempt=2)
    assert len(said) == 1 and said[0].startswith("lql: no time of it stands in")
    measured = requests(tell=said.append)
    measured.of_run(NAME)
    assert len(said) == 1


HEAD = "machine,device,kind,algorithm,quantity,value,median,units_per_second,cases"
ROWS = """\
{m},{d},time,lql,vector_step,,{step},,loop/lql/float32/vector_step
{m},{d},time,lql,environment,,0.001,,loop/lql/float32/environment
{m},{d},time,lql,learn,,0.08,,loop/lql/float32/learn
{m},{d},time,lql,evaluation,,10,,loop/lql/float32/evaluation
{m},{d},time,lql,compilation,cold,70,,compilation/lql/float32
{m},{d},time,lql,learn,,0.08,,updates/lql/learn/float32/compiled
{m},{d},time,lql,learn,,0.2,,updates/lql/learn/float32/eager
{m},{d},time,ppo,end_to_end,,0.5,4000,end_to_end/ppo/ours
"""


def planted(tmp_path: Path, *machines: tuple[str, str, float]) -> Path:
    """A table of machines: (name, device, seconds of a vector step)."""
    rows = [ROWS.format(m=name, d=device, step=step) for name, device, step in machines]
    file = tmp_path / "throughput.csv"
    file.write_text("\n".join([HEAD, "".join(rows)]))
    return file


def test_times_are_read_from_the_parts_of_a_vector_step(tmp_path):
    times = read_times(planted(tmp_path, ("a", "cpu", 0.087)))
    assert times["lql"] == Times(
        pytest.approx(0.006), 0.001, 0.08, 10.0, 70.0, 1.0, pytest.approx(2.5), "a"
    )
    # From end to end only: what is learned is counted in the vector step, 5 transitions of it.
    assert times["ppo"].act == pytest.approx(5 / 4000) and times["ppo"].update == 0


def test_the_slowest_machine_counts_and_a_gpu_only_for_jobs_that_have_one(tmp_path):
    file = planted(tmp_path, ("a", "cpu", 0.09), ("b", "cpu", 0.2), ("g", "cuda: a GPU", 0.085))
    assert read_times(file)["lql"].machine == "b"
    assert read_times(file, on_gpu=True)["lql"].machine == "g"
    without = planted(tmp_path, ("a", "cpu", 0.09))
    assert read_times(without, on_gpu=True)["lql"].machine == "a"


@pytest.mark.parametrize("content", [None, "", "kind\n", HEAD + "\na,cpu,time,lql\n", "\0\xff"])
def test_a_table_that_is_none_measures_nothing(tmp_path, content):
    file = tmp_path / "throughput.csv"
    if content is not None:
        file.write_text(content, encoding="latin-1")
    assert read_times(file) == {}


def test_the_record_at_hand_tells_of_every_method():
    times = read_times(ROOT / "results/throughput.csv")
    assert {"lql", "nc_lql", "diffusion_ql", "ppo", "sac"} <= set(times)
    # A Langevin method's update costs several of SAC's, and compiling it is worth its while.
    assert times["nc_lql"].update > 3 * times["sac"].update > 0
    assert times["nc_lql"].eager_update > 1.5


def test_a_campaign_asks_for_what_the_page_says_in_fewer_attempts_than_a_profile_makes(
    monkeypatch, capsys
):
    monkeypatch.chdir(ROOT)
    for name in set(ALGORITHMS) - {"lql", "nc_lql", "diffusion_ql", "ppo", "sac"}:
        monkeypatch.delitem(ALGORITHMS, name)  # The page is of the suite's own methods.
    on_a_processor = ["--scale", "paper", "--overrides", '{"device": "cpu"}']
    assert requesting.main(on_a_processor) == 0
    told = capsys.readouterr().out
    page = (ROOT / "profiles/README.md").read_text()
    assert " ".join(told.split()) in " ".join(page.split()), told
    attempts = [int(row.split("|")[5].split()[-1]) for row in told.splitlines()[2:12]]
    assert max(attempts) > min(attempts) == 1
    for name in ("slurm", "cluster-generic"):
        profile = yaml.safe_load((ROOT / f"profiles/{name}/config.yaml").read_text())
        # One attempt comes before the retries, and a node may go away.
        assert profile["retries"] > max(attempts), name


def test_the_longest_job_is_the_protocols(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert read_protocol().longest_job_minutes == 1440
    assert read_protocol(overrides={"longest_job_minutes": 240}).longest_job_minutes == 240
    with pytest.raises(ValueError, match="longest_job_minutes: 0 is less than"):
        read_protocol(overrides={"longest_job_minutes": 0})
