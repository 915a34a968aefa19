"""Checkpoints: whole or not there, the same bits again, and no code run in loading them."""

import hashlib
import json
import os
import resource
import struct

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from algorithms import checkpoint
from algorithms.checkpoint import CheckpointDamaged, Checkpoints, read
from algorithms.files import NotWritten, written_whole

CPU = torch.device("cpu")
FUZZ = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def same(a, b) -> bool:
    """Whether two states hold the same values of the same types, to the bit."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and _bytes(a) == _bytes(b)
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, float):
        return struct.pack("d", a) == struct.pack("d", b) or (a != a and b != b)
    return a == b


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
STATES = st.recursive(
    PLAIN
    | st.lists(st.floats(width=32), max_size=4).map(torch.tensor)
    | st.lists(st.integers(0, 255), max_size=4).map(lambda v: np.array(v, np.uint64)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=2) | st.integers() | st.sampled_from(["$"]), inner)
    ),
    max_leaves=8,
)


@FUZZ
@given(state=STATES)
def test_any_state_of_tensors_and_plain_values_comes_back_to_the_bit(tmp_path, state):
    file = Checkpoints(tmp_path).save(state)
    assert same(read(file, CPU), state)


def test_what_a_run_holds_comes_back_to_the_bit(tmp_path):
    vector = torch.randn(6)
    generator = torch.Generator().manual_seed(1)
    state = {
        "views of one vector": [vector[:4], vector[2:], vector.view(2, 3).t()],
        "half": torch.randn(3).to(torch.bfloat16),
        "scalar": torch.tensor(3.5, dtype=torch.float64),
        "nothing": torch.empty(0, 4),
        "ends": torch.tensor([True, False]),
        "generator": generator.get_state(),
        "NumPy's": np.random.PCG64(3).state,  # integers of 128 bits
        "Mersenne Twister's": np.random.MT19937(3).state,  # an array of uint32
        "Adam's": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"betas": (1, 2)}]},
        "zero": -0.0,
        "not a number": [float("nan"), float("-inf"), torch.tensor([float("nan")])],
        "count": np.int64(7),
    }
    back = read(Checkpoints(tmp_path).save(state), CPU)
    assert same(back, state | {"count": 7})
    generator.set_state(back["generator"])
    assert back["views of one vector"][0].data_ptr() != vector.data_ptr()


def test_only_the_filled_part_of_a_buffer_is_written_and_none_of_it_copied(tmp_path, monkeypatch):
    """A replay of gigabytes is saved beside itself, and needs no room for another."""
    handed = {}

    def listened(tensors, *rest):
        handed.update({name: tensor.data_ptr() for name, tensor in tensors.items()})
        save_file(tensors, *rest)

    monkeypatch.setattr(checkpoint, "save_file", listened)
    buffer = torch.zeros(1_000_000)
    file = Checkpoints(tmp_path).save({"filled": buffer[:10]})
    assert file.stat().st_size < 1000
    assert list(handed.values()) == [buffer.data_ptr()]


def test_two_generations_are_kept_and_all_are_removed(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoint")
    assert checkpoints.load(CPU) == (None, [])
    for step in range(4):
        checkpoints.save({"step": step})
    assert checkpoints.load(CPU) == ({"step": 3}, [])
    names = sorted(os.listdir(checkpoints.folder))
    stems = ("000003", "000004")
    assert names == [f"{stem}.{kind}" for stem in stems for kind in ("safetensors", "sha256")]
    (checkpoints.folder / "000005.safetensors.part").write_bytes(b"half")
    checkpoints.remove()
    assert not checkpoints.folder.exists()


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "no digest", "other digest"])
def test_a_damaged_newest_one_falls_back_to_the_one_before_and_says_so(tmp_path, damage):
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        newest = checkpoints.save({"step": step, "weights": torch.ones(100)})
    content = bytearray(newest.read_bytes())
    digest = newest.with_suffix(".sha256")
    if damage == "flipped":
        content[-7] ^= 1
        newest.write_bytes(content)
        # Without the digest it would load, silently wrong.
        assert (load_file(newest)["0"] != 1).any()
    if damage == "cut":
        newest.write_bytes(content[:-7])
    if damage == "empty":
        newest.write_bytes(b"")
    if damage == "no digest":
        digest.unlink()
    if damage == "other digest":
        digest.write_text("0" * 64 + "  000002.safetensors\n")
    state, complaints = checkpoints.load(CPU)
    assert state["step"] == 1
    assert len(complaints) == 1 and f"{newest} is damaged: " in complaints[0]
    assert checkpoints.save({"step": 3}) == tmp_path / "000003.safetensors"
    assert checkpoints.generations() == [1, 3], "two that can be gone on from"


def test_where_all_are_damaged_there_is_none(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        checkpoints.save({"step": step}).write_bytes(b"x")
    state, complaints = checkpoints.load(CPU)
    assert state is None and len(complaints) == 2


@FUZZ
@given(
    content=st.binary(max_size=200),
    header=st.recursive(
        PLAIN | st.floats(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    ).filter(lambda value: not isinstance(value, bytes)),
    kind=st.sampled_from(["raw", "header", "state"]),
)
def test_whatever_the_bytes_a_state_or_the_error(tmp_path, content, header, kind):
    """With the digest that belongs to them, so that they get as far as the parsers."""
    if kind != "raw":
        if kind == "state":
            tagged = {"$": "tensor", "name": "0", "on_host": True, "items": header, "value": 1}
            header = {"__metadata__": {"state": json.dumps([header, tagged], default=str)}}
        text = json.dumps(header, default=str).encode()
        content = struct.pack("<Q", len(text)) + text + content
    file = tmp_path / "000001.safetensors"
    file.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    file.with_suffix(".sha256").write_text(f"{digest}  {file.name}\n")
    try:
        read(file, CPU)
    except CheckpointDamaged as error:
        assert str(file) in str(error) and "\n" not in str(error)


def test_a_full_disk_leaves_the_last_whole_checkpoint(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"step": 1})
    before = sorted(os.listdir(tmp_path))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))  # as a full disk: writing fails
    try:
        with pytest.raises(NotWritten, match="000002.safetensors cannot be written: ") as refusal:
            checkpoints.save({"step": 2, "weights": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(refusal.value)
    assert sorted(os.listdir(tmp_path)) == before
    assert checkpoints.load(CPU) == ({"step": 1}, [])


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(NotWritten, match="file/checkpoint"):
        Checkpoints(tmp_path / "file" / "checkpoint").save({})


def test_a_file_is_whole_or_what_it_was(tmp_path):
    file = tmp_path / "table.csv"
    file.write_text("before")
    with pytest.raises(KeyboardInterrupt), written_whole(file) as beside:
        beside.write_text("half")
        raise KeyboardInterrupt
    assert file.read_text() == "before" and os.listdir(tmp_path) == ["table.csv"]


def test_a_file_that_two_write_at_once_is_one_of_theirs(tmp_path, monkeypatch):
    """As plans and resolved configurations are, by jobs side by side."""
    file = tmp_path / "plan.json"
    with written_whole(file, is_shared=True) as first:
        first.write_text("first")
        with monkeypatch.context() as other:
            other.setattr("algorithms.files.os.getpid", lambda: -1)
            with written_whole(file, is_shared=True) as second:
                second.write_text("second")
        assert file.read_text() == "second"
    assert file.read_text() == "first" and os.listdir(tmp_path) == ["plan.json"]


def test_what_is_neither_tensor_nor_plain_is_refused(tmp_path):
    """It could be restored only by running code."""
    with pytest.raises(TypeError, match="cannot hold a Checkpoints"):
        Checkpoints(tmp_path).save({"self": Checkpoints(tmp_path)})
    assert os.listdir(tmp_path) == []
