"""The training loop by its command line: what it leaves, repeats, survives and refuses."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import fields

import numpy as np
import pytest
import torch
import torture
from filelock import FileLock
from runs import FILES, arguments, before_step, contents, document, run, terminate

from algorithms import compilation, session
from algorithms.nc_lql import Configuration
from algorithms.train import Options, main
from analysis.records import read_run


def table(folder) -> bytes:
    return (folder / "evaluations.csv").read_bytes()


def test_a_run_leaves_a_record_and_nothing_else(tmp_path):
    assert run(tmp_path / "run") == 0
    assert sorted(os.listdir(tmp_path / "run")) == list(FILES)
    record = read_run(tmp_path / "run")
    assert record.status == "complete"
    assert record.evaluations["transitions"].unique().tolist() == [0, 50, 100, 150, 200]
    assert record.evaluations["updates"].unique().tolist() == [0, 15, 40, 65, 90]
    assert record.document["transitions"] == 200 and record.document["updates"] == 90


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert run(tmp_path / name, seed=seed) == 0
    assert table(tmp_path / "a") == table(tmp_path / "b") != table(tmp_path / "c")


def test_evaluating_leaves_no_trace_in_training(tmp_path):
    """However often and long: the networks at the end are the same to the bit."""
    weights = []
    for name, changes in (("a", {}), ("b", {"evaluate_every": 7, "evaluation_episodes": 5})):
        run(tmp_path / name, **changes)
        policy = torch.load(tmp_path / name / "policy.pt", weights_only=True)
        weights.append(policy["components"]["actor"])
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_run_that_does_not_divide_evenly_ends_with_an_evaluation(tmp_path):
    run(tmp_path, transitions=99, num_envs=4, evaluate_every=40)
    assert read_run(tmp_path).evaluations["transitions"].unique().tolist() == [0, 20, 60, 100]


@pytest.mark.parametrize("step", [1, 24, 25, 60, 99])
def test_sigterm_saves_and_the_same_command_goes_on_to_the_same_bytes(tmp_path, capsys, step):
    """At the first step, at and around an evaluation, at the last step."""
    run(tmp_path / "whole")
    with before_step(step, terminate):
        assert run(tmp_path / "parts") == 128 + signal.SIGTERM
    assert sorted(os.listdir(tmp_path / "parts")) == [".lock", "checkpoint"]
    capsys.readouterr()
    assert run(tmp_path / "parts") == 0
    assert f"going on from {2 * (step + 1)} transitions" in capsys.readouterr().err
    assert table(tmp_path / "parts") == table(tmp_path / "whole")
    assert document(tmp_path / "parts")["resumptions"] == 1
    assert sorted(os.listdir(tmp_path / "parts")) == list(FILES)
    rows = [read_run(tmp_path / name).metrics for name in ("whole", "parts")]
    timed = ["wall_seconds", "transitions_per_second"]
    assert rows[0].drop(columns=timed).equals(rows[1].drop(columns=timed))


def test_a_generator_left_out_of_the_checkpoint_would_show(tmp_path, monkeypatch):
    """The bytes are compared in vain unless a state that is not restored changes them."""
    run(tmp_path / "whole")
    with before_step(60, terminate):
        run(tmp_path / "parts")
    load = session.Training.load_state_dict

    def forgetful(training, state):
        state["agent"]["generators"]["replay"] = training.agent.generators["replay"].get_state()
        load(training, state)

    monkeypatch.setattr(session.Training, "load_state_dict", forgetful)
    run(tmp_path / "parts")
    assert table(tmp_path / "parts") != table(tmp_path / "whole")


def test_sigterm_during_an_evaluation_does_not_wait_for_its_end(tmp_path):
    """The evaluation is done again after the restart."""
    run(tmp_path / "whole", evaluation_episodes=30)
    life, file = start(tmp_path, evaluation_episodes=30)
    while file.read().steps < 20 or file.read().phase != torture.EVALUATING:
        assert life.exit_code() is None
        time.sleep(0.0002)
    os.kill(life.pid, signal.SIGTERM)
    while life.exit_code() is None:
        time.sleep(0.01)
    assert life.exit_code() == 128 + signal.SIGTERM
    assert any((tmp_path / "run" / "checkpoint").glob("*.safetensors"))
    assert run(tmp_path / "run", evaluation_episodes=30) == 0
    assert table(tmp_path / "run") == table(tmp_path / "whole")


def start(folder, *flags, **changes):
    """A small run in `folder / "run"` by a process of its own, and its status."""
    status = folder / "status"
    status.write_bytes(torture._LAYOUT.pack(*torture.Status()))
    command = arguments(folder / "run", *flags, **changes)
    return torture.start_forked(status, command, folder / "log"), torture.StatusFile(status)


def test_a_finished_run_is_not_run_again(tmp_path, capsys):
    run(tmp_path)
    before = {f.name: (f.read_bytes(), f.stat().st_mtime_ns) for f in tmp_path.iterdir()}
    capsys.readouterr()
    assert run(tmp_path, "--device", "cpu", checkpoint_seconds=7) == 0  # not of its configuration
    assert "holds the record of this run (complete); nothing to do" in capsys.readouterr().out
    assert {f.name: (f.read_bytes(), f.stat().st_mtime_ns) for f in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seed": 1}, "seed is 0 there, 1 here"),
        ({"algorithm": "lql"}, "algorithm is 'sac' there, 'lql' here"),
        ({"discount": 0.5}, "settings.discount is 0.99 there, 0.5 here"),
    ],
)
@pytest.mark.parametrize("what", ["record", "checkpoint"])
def test_what_is_there_of_another_run_is_refused(tmp_path, capsys, what, changes, told):
    if what == "record":
        run(tmp_path / "run")
    else:
        with before_step(50, terminate):
            run(tmp_path / "run")
    before = contents(tmp_path)
    capsys.readouterr()
    assert run(tmp_path / "run", **changes) == 2
    (line,) = capsys.readouterr().err.splitlines()
    folder = tmp_path / "run" if what == "record" else tmp_path / "run" / "checkpoint"
    assert told in line and f"delete {folder}" in line
    assert contents(tmp_path) == before


@pytest.mark.parametrize("damage", ["newest", "both"])
def test_a_damaged_checkpoint_costs_time_and_nothing_else(tmp_path, capsys, damage):
    run(tmp_path / "whole")
    with before_step(50, terminate):
        run(tmp_path / "run", checkpoint_seconds=0)
    files = sorted((tmp_path / "run" / "checkpoint").glob("*.safetensors"))
    for file in files[-1:] if damage == "newest" else files:
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    capsys.readouterr()
    assert run(tmp_path / "run") == 0
    told = capsys.readouterr().err
    assert f"{files[-1]} is damaged" in told
    if damage == "both":
        assert "no whole checkpoint is left: starting anew" in told
    assert table(tmp_path / "run") == table(tmp_path / "whole")


@pytest.mark.parametrize("file", ["run.json", "metrics.csv"])
def test_a_damaged_record_is_refused(tmp_path, capsys, file):
    run(tmp_path)
    capsys.readouterr()
    (tmp_path / file).unlink() if file == "metrics.csv" else (tmp_path / file).write_text("{")
    before = contents(tmp_path)
    assert run(tmp_path) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / file) in line and f"delete {tmp_path} to run it again" in line
    assert contents(tmp_path) == before


def test_a_folder_at_work_is_refused(tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    with FileLock(folder / ".lock"):
        assert run(folder) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"another process is at work in {folder}" in line
    assert contents(folder) == {".lock": b""}


def test_a_folder_at_work_is_waited_for_and_its_record_taken(tmp_path):
    run(tmp_path / "made elsewhere")
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / ".lock"):
        life, _ = start(tmp_path, "--when-locked", "wait")
        log = tmp_path / "log"
        while not log.exists() or "waiting for the process" not in log.read_text():
            assert life.exit_code() is None
            time.sleep(0.01)
        for name in FILES:
            shutil.copy(tmp_path / "made elsewhere" / name, tmp_path / "run" / name)
    while life.exit_code() is None:
        time.sleep(0.01)
    assert life.exit_code() == 0
    assert "holds the record of this run (complete)" in log.read_text()
    assert contents(tmp_path / "run") == contents(tmp_path / "made elsewhere")


def test_a_full_disk_is_told_and_what_was_saved_stands(tmp_path, capsys):
    run(tmp_path / "whole")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with before_step(50, terminate):
        run(tmp_path / "run")
    before = contents(tmp_path / "run")
    capsys.readouterr()
    try:
        with before_step(
            60, lambda t: resource.setrlimit(resource.RLIMIT_FSIZE, (9000, limits[1]))
        ):
            assert run(tmp_path / "run", checkpoint_seconds=1e-9, replay_capacity=None) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    line = capsys.readouterr().err.splitlines()[-1]
    assert re.search(r"checkpoint/\d+.safetensors cannot be written: .*what was saved before", line)
    assert len(contents(tmp_path / "run")) >= len(before)
    assert run(tmp_path / "run") == 0
    assert table(tmp_path / "run") == table(tmp_path / "whole")


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert run(tmp_path / "file" / "run") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{tmp_path / 'file' / 'run'} cannot be written to" in line
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize(
    ("changes", "flags", "told"),
    [
        ({"algorithm": "sacc"}, [], "unknown algorithm 'sacc'; the nearest known one is 'sac'"),
        ({"env": "Pont-v0"}, [], "unknown environment 'Pont-v0'; .* 'Point-v0'"),
        ({"env": "CartPole-v1"}, [], "CartPole-v1.*not a box"),
        ({"seed": -1}, [], "seed is -1"),
        ({"seed": "x"}, [], "--seed: .*'x'"),
        ({"seed": None}, [], "missing --seed$"),
        ({"algorithm": None}, [], "--hidden-width"),
        ({"transitions": 0}, [], "transitions is 0"),
        ({"warm_up": 200}, [], "warm_up 200 is too large for 200 transitions"),
        ({"num_envs": -2}, [], "num_envs is -2"),
        ({"hidden_width": 0}, [], "hidden_width is 0"),
        ({"hiden_width": 8}, [], "--hiden-width.*nearest known one is --hidden-width"),
        ({"checkpoint_seconds": -1}, [], "checkpoint_seconds is -1"),
        ({"checkpoint_seconds": "nan"}, [], "checkpoint_seconds is nan"),
        ({"threads": 0}, [], "threads is '0'"),
        ({"threads": "two"}, [], "threads is 'two'"),
        ({"device": "tpu"}, [], "unknown device 'tpu'"),
        ({"device": "mps"}, [], "unknown device 'mps'"),
        ({"device": "meta"}, [], "unknown device 'meta'"),
        ({"device": "cuda:999"}, [], "device 'cuda:999' asked for, of [0-9]+ CUDA devices here"),
        ({"when_locked": "steal"}, [], "invalid choice 'steal'.*'refuse', 'wait'"),
        ({}, ["leftover"], "leftover"),
    ],
)
def test_nonsense_is_refused_in_one_line_and_nothing_is_written(
    tmp_path, capsys, changes, flags, told
):
    assert run(tmp_path / "in" / "here", *flags, **changes) == 2
    streams = capsys.readouterr()
    (line,) = streams.err.splitlines()
    assert re.search(told, line) and line.startswith("python -m algorithms.train: ")
    assert streams.out == "" and os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("algorithm", "settings", "told"),
    [
        ("nc_lql", {"smallest_noise": 0.5}, "smallest_noise 0.5 is above largest_noise 0.1"),
        ("sac", {"replay_capacity": 1}, "replay_capacity 1 is less than a step of 2 environments"),
    ],
)
def test_settings_that_an_algorithm_refuses_leave_nothing(
    tmp_path, capsys, algorithm, settings, told
):
    """What only the algorithm itself can tell, when it is built: after the folder was taken."""
    assert run(tmp_path / "in" / "here", algorithm=algorithm, **settings) == 2
    assert told in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_help_documents_every_option(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--algorithm", "nc_lql", "--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    for field in (*fields(Options), *fields(Configuration)):
        assert f"--{field.name.replace('_', '-')}" in told
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "Registered algorithms: lql, nc_lql" in " ".join(capsys.readouterr().out.split())


def test_help_ends_well_where_nobody_reads_on():
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "algorithms.train", "--help"]
    ended = subprocess.run(command, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_threads_are_set_before_torch_is_loaded():
    code = (
        "import sys, os, algorithms.train as t; assert 'torch' not in sys.modules;"
        "assert 'numpy' not in sys.modules; t.prepare_process(['--threads', '2']);"
        "assert os.environ['OMP_NUM_THREADS'] == '2'; t.prepare_process([]);"
        "assert os.environ['OMP_NUM_THREADS'] == '1';"
        "print(os.environ['TORCHINDUCTOR_CACHE_DIR'])"
    )
    environment = {k: v for k, v in os.environ.items() if k != "TORCHINDUCTOR_CACHE_DIR"}
    environment["XDG_CACHE_HOME"] = "/somewhere"
    told = subprocess.check_output([sys.executable, "-c", code], text=True, env=environment)
    assert told.strip() == "/somewhere/langevin-q-suite/inductor"


def test_without_a_compiler_a_run_goes_on_eagerly_and_says_so_once(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(compilation.shutil, "which", lambda name: None)
    compilation.can_compile.cache_clear()
    try:
        assert run(tmp_path, "--compile") == 0
    finally:
        compilation.can_compile.cache_clear()
    told = capsys.readouterr()
    assert (told.out + told.err).count("no C++ compiler found: running eagerly") == 1
    assert document(tmp_path)["resolved"]["compiled"] is False


def test_tensorboard_is_an_extra(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(session, "find_spec", lambda name: None)
    assert run(tmp_path / "run", "--tensorboard", str(tmp_path / "logs")) == 2
    assert "--tensorboard needs the extra" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_tensorboard_shows_metrics_and_evaluations(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert run(tmp_path / "run", "--tensorboard", str(tmp_path / "logs")) == 0
    shown = EventAccumulator(str(tmp_path / "logs")).Reload()
    means = read_run(tmp_path / "run").evaluations.groupby("transitions")["return"].mean()
    scalars = shown.Scalars("evaluation/return")
    assert [s.step for s in scalars] == means.index.tolist()
    assert np.allclose([s.value for s in scalars], means)
    assert shown.Scalars("metrics/critic_loss")


def test_a_disk_that_is_full_at_the_end_costs_no_run(tmp_path, capsys):
    """The tables cannot be written; the last checkpoint stands, and the next try leaves them."""
    run(tmp_path / "whole")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill_the_disk(training):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))

    with before_step(50, terminate):
        run(tmp_path / "run")
    try:
        with before_step(99, fill_the_disk):
            assert run(tmp_path / "run") == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "policy.pt cannot be written" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "run" / "run.json").exists()
    assert run(tmp_path / "run") == 0
    assert table(tmp_path / "run") == table(tmp_path / "whole")
