"""What a process finds in a run's folder, and whether it may go on from it."""

import os

import pytest
import torch
from runs import FILES, arguments, before_step, contents, document, run, terminate

from algorithms import langevin_agent, session
from algorithms.train import main


def test_a_checkpoint_of_other_versions_or_threads_is_refused(tmp_path, capsys, monkeypatch):
    """Either changes the order of sums, and with it the bytes of a record."""
    with before_step(50, terminate):
        run(tmp_path)
    assert run(tmp_path, threads=2) == 2
    assert "was made with threads 1, here it is 2" in capsys.readouterr().err
    monkeypatch.setattr(session.record, "versions", lambda: {"torch": "1.0"})
    assert run(tmp_path) == 2
    assert "was made with versions" in capsys.readouterr().err


def test_a_chain_does_not_change_its_precision_midway(tmp_path, capsys, monkeypatch):
    """`auto` is bfloat16 on some nodes of a cluster and float32 on others."""
    lql = {"algorithm": "lql", "sampling_precision": "auto"}
    monkeypatch.setattr(langevin_agent, "sampling_dtype", lambda name, device: torch.bfloat16)
    with before_step(50, terminate):
        run(tmp_path, **lql)
    monkeypatch.setattr(langevin_agent, "sampling_dtype", lambda name, device: torch.float32)
    assert run(tmp_path, **lql) == 2
    assert "was made with sampling_precision bfloat16, here it is fl" in capsys.readouterr().err
    monkeypatch.setattr(langevin_agent, "sampling_dtype", lambda name, device: torch.bfloat16)
    assert run(tmp_path, **lql) == 0
    assert document(tmp_path)["resolved"]["sampling_precision"] == "bfloat16"


def test_what_a_kill_before_the_clean_up_leaves_is_removed_by_the_next(tmp_path, monkeypatch):
    def killed(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(session.Session, "_leave_nothing_but_the_record", killed)
        run(tmp_path, checkpoint_seconds=0)
    assert (tmp_path / "checkpoint").is_dir()
    before = contents(tmp_path)
    assert run(tmp_path) == 0
    assert sorted(os.listdir(tmp_path)) == list(FILES)
    assert all(before[name] == (tmp_path / name).read_bytes() for name in FILES)


def test_a_record_holds_no_folder_however_it_was_given(tmp_path):
    small = run(tmp_path / "a"), main([*arguments(tmp_path)[:-2], f"--output={tmp_path / 'b'}"])
    assert small == (0, 0)
    assert document(tmp_path / "a")["command"][-2:] == ["--output", "DIR"]
    assert document(tmp_path / "b")["command"][-1] == "--output=DIR"
