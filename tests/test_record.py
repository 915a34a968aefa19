"""What a finished run leaves: small, whole, without traces of whose machine it was."""

import getpass
import io
import json
import os
import platform
import subprocess

import numpy as np
import pytest
import torch
from runs import FILES, before_step, run, terminate

import algorithms
from algorithms import record
from algorithms.metrics import MOST_ROWS, Gathered, Progress, steps_per_row
from algorithms.options import planned_evaluations, resolve_configuration
from analysis.records import read_run

CPU = torch.device("cpu")


def document(folder) -> dict:
    return json.loads((folder / "run.json").read_text())


def test_run_json_says_what_was_asked_and_what_the_machine_made_of_it(tmp_path):
    run(tmp_path)
    found = document(tmp_path)
    assert set(found) >= {
        "status",
        "configuration",
        "configuration_hash",
        "command",
        "commit",
        "dirty",
        "versions",
        "machine",
        "device",
        "threads",
        "wall_seconds",
        "cpu_seconds",
        "peak_memory_bytes",
        "resumptions",
    }
    assert found["command"][:5] == ["python", "-m", "algorithms.train", "--algorithm", "sac"]
    assert found["device"] == "cpu" and found["threads"] == 1
    assert found["resolved"]["compiled"] is False
    assert {"python", "torch", "numpy", "gymnasium", "mujoco"} <= set(found["versions"])
    assert 0 < found["cpu_seconds"] and 0 < found["wall_seconds"]
    assert sum(found["seconds"].values()) <= found["wall_seconds"]
    points = [point["transitions"] for point in found["memory"]]
    assert points == list(range(20, 201, 20))
    assert all(
        1e8 < point["resident_bytes"] <= found["peak_memory_bytes"] for point in found["memory"]
    )


def test_no_name_of_machine_user_or_folder_is_in_a_record(tmp_path):
    run(tmp_path / "secret")
    text = (tmp_path / "secret" / "run.json").read_text()
    names = [platform.node(), str(tmp_path), "secret", os.path.expanduser("~")]
    for name in [*names, f"/{getpass.getuser()}"]:
        assert len(name) < 3 or name not in text


def test_memory_and_time_go_on_over_a_restart(tmp_path):
    with before_step(50, terminate):
        run(tmp_path)
    state = torch_state(tmp_path)
    run(tmp_path)
    found = document(tmp_path)
    assert found["wall_seconds"] > state["seconds"]["wall"] > 0
    assert len(found["memory"]) == 10


def torch_state(folder) -> dict:
    """The part of a checkpoint that belongs to the loop."""
    from algorithms.checkpoint import Checkpoints

    return Checkpoints(folder / "checkpoint").load(CPU)[0]["training"]


@pytest.mark.parametrize("name", algorithms.ALGORITHMS)
def test_the_policy_that_is_left_acts_as_the_one_that_was_trained(tmp_path, name, monkeypatch):
    kept = []
    monkeypatch.setattr(record, "write_policy", _and_keep(record.write_policy, kept))
    small = {"hidden_width": None, "batch_size": None} if name == "ppo" else {}
    assert run(tmp_path, algorithm=name, transitions=60, evaluate_every=60, **small) == 0
    (trained,), read = kept, record.read_policy(tmp_path, CPU)
    observation = torch.linspace(-1, 1, 7)[:, None]
    for explore in (False, True):
        for agent in (trained, read):
            for generator in agent.generators.values():
                generator.manual_seed(5)
        actions = [agent.act(observation, explore) for agent in (trained, read)]
        assert torch.equal(*actions)
    assert (tmp_path / "policy.pt").stat().st_size < 3e6


def _and_keep(write, kept):
    def call(folder, agent, configuration):
        kept.append(agent)
        write(folder, agent, configuration)

    return call


def test_a_desk_runs_record_is_small():
    """As many rows as a desk run has, each with as many digits as there can be."""
    desk = resolve_configuration("nc_lql", "HalfCheetah-v4", 0)
    generator = np.random.default_rng(0)
    episodes = [
        (at, at // 5, episode, float(1e4 * generator.standard_normal()), 1000)
        for at in planned_evaluations(desk)
        for episode in range(desk["evaluation_episodes"])
    ]
    metrics = [
        {name: float(np.float32(generator.standard_normal())) for name in map(str, range(16))}
        for _ in range(60_000 // steps_per_row(60_000))
    ]
    size = len(record.table(record.EVALUATION_COLUMNS, episodes))
    size += len(record.metrics_table(metrics))
    assert size < 95_000


@pytest.mark.parametrize("transitions", [1, 999, 12_000, 300_000, 5_030_000, 10**9])
def test_metrics_have_few_rows_at_any_length(transitions):
    steps = -(-transitions // 5)
    assert steps / steps_per_row(steps) <= MOST_ROWS


def test_floats_in_tables_give_themselves_back_to_the_bit():
    values = [0.1, 1 / 3, -0.0, 5e-324, 1.7976931348623157e308, 12345678.000000002, 2.0]
    lines = record.table(["value"], ([value] for value in values)).splitlines()
    assert [float(line).hex() for line in lines[1:]] == [value.hex() for value in values]


def test_rows_with_other_metrics_leave_empty_cells(tmp_path):
    text = record.metrics_table([{"transitions": 1, "updates": 0}, {"transitions": 2, "loss": 0.5}])
    assert text == "transitions,updates,loss\n1,0,\n2,,0.5\n"


def test_metrics_are_means_over_the_steps_that_had_them():
    gathered = Gathered()
    gathered.add({})
    gathered.add({"loss": torch.tensor(1.0)})
    gathered.add({"loss": torch.tensor(2.0), "seldom": torch.tensor(8.0)})
    gathered.add({"loss": torch.tensor(6.0)})
    gathered.add_step(np.array([[1.0, 0.3], [-1.0, 0.999]], np.float32), [])
    gathered.add_step(np.array([[0.0, 0.0], [0.5, -1.0]], np.float32), [10.0, 20.0])
    half = Gathered()
    half.load_state_dict(gathered.state_dict())
    means = {"action_on_face": 3 / 8, "exploring_return": 15.0, "loss": 3.0, "seldom": 8.0}
    assert gathered.read() == half.read() == means
    assert gathered.read() == {"action_on_face": None, "exploring_return": None}


def test_gathering_does_not_change_what_was_handed_over():
    loss = torch.tensor(1.0)
    gathered = Gathered()
    gathered.add({"loss": loss})
    gathered.add({"loss": loss})
    assert loss.item() == 1.0 and gathered.read()["loss"] == 1.0


def test_the_log_tells_the_time_that_is_left_by_the_present_rate(monkeypatch):
    """By the mean since the start, a warm-up at 1,000 a second would promise too much."""
    now = [0.0]
    monkeypatch.setattr("algorithms.metrics.time.monotonic", lambda: now[0])
    said = []
    progress = Progress(100_000, 0, "run", stream=_Log(said))
    for now[0], done in ((10, 10_000), (60, 10_500), (120, 11_100)):
        progress.update(done, {"updates": 5})
    assert "11100 of 100000 transitions (11 %), 10.0 a second, 2:28:10 left, updates 5" in said[-1]
    assert len(said) == 2


class _Log:
    def __init__(self, said):
        self.write = lambda text: said.append(text) if text.strip() else None

    def isatty(self):
        return False

    def flush(self):
        pass


def test_dirty_speaks_of_the_code_only(tmp_path, monkeypatch):
    """A record that is written into the repository does not make the next one dirty."""

    def git(*arguments):
        identity = ["-c", "user.name=n", "-c", "user.email=e"]
        subprocess.run(["git", "-C", tmp_path, *identity, *arguments], check=True)

    git("init", "-q")
    for name in ("algorithms/sac.py", "config/protocol.yaml", "pyproject.toml", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("before")
    git("add", ".")
    git("commit", "-q", "-m", "before")
    monkeypatch.setattr(record, "ROOT", tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "run.json").write_text("{}")
    (tmp_path / "README.md").write_text("after")
    assert record.code_state()["dirty"] is False and len(record.code_state()["commit"]) == 40
    (tmp_path / "config" / "protocol.yaml").write_text("after")
    assert record.code_state()["dirty"] is True
    monkeypatch.setattr(record, "ROOT", tmp_path / "nowhere")
    assert record.code_state() == {"commit": None, "dirty": None}


def test_what_the_writer_writes_the_reader_of_the_tables_takes(tmp_path):
    run(tmp_path, algorithm="nc_lql", transitions=30, warm_up=4, evaluate_every=30)
    found = read_run(tmp_path)
    assert sorted(os.listdir(tmp_path)) == list(FILES)
    assert {"td_loss", "q_mean", "action_on_face"} <= set(found.metrics.columns)


def test_a_bar_on_a_terminal_stands_where_the_run_is():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    progress = Progress(1000, 250, "sac Hopper-v4 seed 0", stream=terminal)
    progress.update(500, {"return": 12.5})
    progress.say("a line of its own")
    progress.close()
    shown = terminal.getvalue()
    assert "50%" in shown and "return=12.5" in shown and "a line of its own\n" in shown
