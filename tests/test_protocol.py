"""The protocol: read whole or refused in one line that names the key."""

import copy
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from overrides import override

import analysis.protocol
from algorithms import ALGORITHMS
from algorithms.options import planned_evaluations, resolve_configuration
from analysis.protocol import PROTOCOL, ProtocolError, read_protocol

FUZZ = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = yaml.safe_load((ROOT / PROTOCOL).read_text())


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_the_three_scales_are_the_documented_ones():
    protocol = read_protocol()
    desk, paper, smoke = (protocol.scale(name) for name in ("desk", "paper", "smoke"))
    assert protocol.default == "desk"
    assert desk.environments == ("Hopper-v4", "Walker2d-v4", "HalfCheetah-v4", "Ant-v4")
    assert paper.environments == (*desk.environments, "Humanoid-v4", "Swimmer-v4")
    assert paper.seeds == (100, 200, 300, 400, 500)
    assert "Hopper-v4" in smoke.environments and len(smoke.seeds) == 2
    assert smoke.settings["hidden_width"] == smoke.settings["batch_size"] == 64
    assert not smoke.compile
    for scale in (desk, paper, smoke):
        assert [e.label for e in scale.entries if not e.is_variant] == list(ALGORITHMS)


def test_the_paper_scale_makes_a_million_updates_and_evaluates_as_the_authors_do():
    sizes = read_protocol().scale("paper").sizes
    learning_steps = (sizes["transitions"] - sizes["warm_up"]) // sizes["num_envs"]
    assert learning_steps * sizes["updates_per_step"] == 1_000_000
    assert planned_evaluations(sizes)[1:] == [30_000 + k * 125_000 for k in range(41)]


def test_the_smoke_scale_makes_enough_updates():
    sizes = read_protocol().scale("smoke").sizes
    learning_steps = (sizes["transitions"] - sizes["warm_up"]) // sizes["num_envs"]
    assert learning_steps * sizes["updates_per_step"] >= 2000


def _turned(*others: dict, **changes) -> dict:
    """A study that turns a knob, by `changes`; and by `others`, a grid each."""
    knob = {"algorithm": "lql", "knob": "k", "factors": {"step_size": [2]}}
    grids = {
        name: {key: value for key, value in (knob | grid).items() if value}
        for name, grid in zip("gh", (changes, *others), strict=False)
    }
    return {"like": "desk", "seeds": [5], "grids": grids}


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("sclaes", {}, "unknown key 'sclaes'; the nearest known is 'scales'"),
        ("scales.desk.transition", 5, "scales.desk: unknown key 'transition'; .* 'transitions'"),
        ("variants.x.algoritm", "sac", "variants.x: .*'algorithm"),
        ("scales.desk.algorithms", ["nc_lq"], "unknown algorithm 'nc_lq'; .* is 'nc_lql'"),
        ("variants.x.algorithm", "pppo", "variants.x.algorithm: .* 'pppo'; .* is 'ppo'"),
        ("scales.desk.environments", ["Hoper-v4"], "environment 'Hoper-v4'; .* is 'Hopper-v4'"),
        ("scales.desk.thresholds.Hoper-v4", [1], "environment 'Hoper-v4'; .* is 'Hopper-v4'"),
        ("scales.desk.environments", ["dm_control/cheetah-run-v0"], "0: 'dm_.* stands in a path"),
        ("scales.desk.settings_of", {"scc": {}}, "settings_of: unknown algorithm 'scc'; .*'sac'"),
        ("studies.sensitivity.grids", [{}], "grids: .* has to be a mapping: grids by name"),
        ("variants.nc_lql_reversed.optional", True, "optional: True is not said here any more"),
        ("scales.desk.variants", ["no_cloning"], "unknown variant 'no_cloning'"),
        ("scales.desk.environments", ["Ant-v4", "Hopper-v5"], "'Hopper-v5' beside another version"),
        ("scales.desk.seeds", [-1], "scales.desk.seeds.0: -1 is less than"),
        ("scales.desk.seeds", [1.0], "scales.desk.seeds.0: 1.0 is not of type 'integer'"),
        ("scales.desk.seeds", [True], "True is not of type 'integer'"),
        ("scales.desk.seeds", [1, 1], "scales.desk.seeds: .*non-unique"),
        ("scales.desk.seeds", [], "scales.desk.seeds: "),
        ("scales.desk.transitions", 0, "scales.desk.transitions: 0 is less than"),
        ("scales.desk.num_envs", -5, "scales.desk.num_envs: -5 is less than"),
        ("scales.desk.warm_up", 300_000, "scales.desk.warm_up: 300000 is too large"),
        ("scales.desk.evaluate_every", 300_001, "evaluate_every: 300001 is too large"),
        ("scales.runs", DOCUMENT["scales"]["desk"], "'runs' cannot be the name"),
        ("studies.desk", {"like": "desk"}, "'desk' cannot be the name"),
        ("studies.paper_desk", {"like": "desk"}, "'paper_desk' cannot be the name"),
        ("studies.costs", {"like": "desk"}, "'costs' cannot be the name"),
        (
            "studies.x",
            _turned(factors={}, settings={"step_size": [2]}),
            "studies.x.grids.g: a knob is turned by factors of one hyperparameter, not of 0",
        ),
        ("studies.x", _turned(factors={"step_size": [2], "chain_steps": [2]}), "g: a .*, not of 2"),
        (
            "studies.x",
            _turned(settings={"step_size": [1, 2]}),
            "g: settings beside a knob have one",
        ),
        ("studies.x", _turned({"factors": {"chain_steps": [4]}}), "h: turns the same knob as 'g'"),
        (
            "studies.x",
            _turned()
            | {"laboratory": ["proposals"], "environments": ["Pendulum-v1", "FarModeBandit-v0"]},
            "studies.x: table 'proposals' has FarModeBandit-v0 by 'bandit'; add to that study",
        ),
        ("studies.x", {"like": "dsk"}, "unknown scale 'dsk'; .* is 'desk'"),
        ("studies.x", {"like": "desk"}, "studies.x: names no algorithm"),
        ("studies.x", {"seeds": [1]}, "studies.x: lacks 'like'"),
        ("variants.ppo", {"algorithm": "ppo"}, "variants.ppo: is the name of an algorithm"),
        ("default", "dask", "unknown scale 'dask'; the nearest known is 'desk'"),
        ("missing", "gaps", "missing: 'gaps' is not one of"),
        ("device", "tpu", "device: 'tpu' does not match"),
    ],
)
def test_nonsense_is_refused_in_one_line_that_names_it(path, value, told):
    with pytest.raises(ProtocolError, match=told) as refusal:
        read_protocol(overrides=override(path, value))
    assert "\n" not in str(refusal.value)
    assert str(refusal.value).startswith("config/protocol.yaml: ")


def test_a_seed_that_a_value_was_chosen_on_is_never_reported():
    tuned = read_protocol().scale("sweep_lql").seeds[0]
    with pytest.raises(ProtocolError, match=f"studies.sweep_lql.seeds: {tuned} is a seed of 'des"):
        read_protocol(overrides=override("scales.desk.seeds", [0, tuned]))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("default: desk\ndefault: desk\nscales: {}\n", "key 'default' stands twice"),
        ("a: [1\n", "not YAML"),
        ("- 1\n", "is not of type 'object'"),
        ("", "is not of type 'object'"),
        ("1: 2\n", "key 1 is no text"),
        ("default: 2026-99-99\n", "not YAML"),
        ("&a [*a]\n", "is not of type 'object'"),
        ("default: desk\nscales: &a {desk: *a}\n", "scales.desk"),
        ("default: " + "[" * 2000, "nested too deeply"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path, text, told):
    file = tmp_path / "protocol.yaml"
    file.write_text(text)
    with pytest.raises(ProtocolError, match=told) as refusal:
        read_protocol(file)
    assert "\n" not in str(refusal.value)


def test_whatever_the_bytes_a_protocol_or_the_error(tmp_path):
    file = tmp_path / "protocol.yaml"
    whole = PROTOCOL.read_bytes()
    positions = st.integers(0, len(whole))
    damaged = st.builds(
        lambda a, b, new: whole[: min(a, b)] + new + whole[max(a, b) :],
        positions,
        positions,
        st.binary(max_size=8) | st.sampled_from([b"*a", b"&a", b"? ", b"[" * 2000, b"!!x", b"<<"]),
    )

    @FUZZ
    @given(content=st.binary(max_size=200) | damaged)
    def read(content):
        file.write_bytes(content)
        try:
            read_protocol(file)
        except ProtocolError as error:
            assert "\n" not in str(error)

    read()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["algorithm", "settings", "seeds", "x"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


@FUZZ
@given(data=st.data())
def test_whatever_the_values_a_protocol_or_the_error(data):
    """One value anywhere in the protocol replaced."""
    document = copy.deepcopy(DOCUMENT)
    inner = document
    while True:
        keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(inner[key], dict | list) or not inner[key] or data.draw(st.booleans()):
            inner[key] = data.draw(VALUES)
            break
        inner = inner[key]
    try:
        read_protocol(overrides=document)
    except ProtocolError as error:
        assert "\n" not in str(error)


def test_a_grid_is_a_variant_for_each_combination():
    scale = read_protocol().scale("sweep_lql")
    wanted = {(epsilon, w) for epsilon in (0.001, 0.01, 0.1) for w in (10.0, 100.0, 1000.0)}
    wanted |= {(0.01, 1.0)}  # a grid of its own
    assert len({entry.label for entry in scale.entries}) == len(scale.entries) == len(wanted)
    settings = [entry.settings for entry in scale.entries]
    assert {(s["step_size"], s["inverse_temperature"]) for s in settings} == wanted


@pytest.mark.parametrize("gone", ALGORITHMS)
def test_an_algorithm_that_is_gone_takes_only_what_names_it_with_it(monkeypatch, gone):
    whole = read_protocol()
    without = {name: place for name, place in ALGORITHMS.items() if name != gone}
    monkeypatch.setattr(analysis.protocol, "ALGORITHMS", without)
    found = read_protocol()
    for name, scale in whole.scales.items():
        kept = [entry for entry in scale.entries if entry.algorithm != gone]
        assert found.scale(name).entries == tuple(kept)
    paper = [e.label for e in whole.scale("paper").entries if e.algorithm == gone and e.is_variant]
    assert list(found.scale("paper").left_out) == paper
    needed = {"optional": [name for name in ALGORITHMS if name != gone]}
    with pytest.raises(ProtocolError, match=f"unknown algorithm '{gone}'"):
        read_protocol(overrides=needed)


def test_a_study_takes_what_it_does_not_say_from_its_scale():
    protocol = read_protocol()
    desk, sweep = protocol.scale("desk"), protocol.scale("sweep_lql")
    assert sweep.sizes == desk.sizes | {"transitions": 100_000}
    assert sweep.thresholds["Hopper-v4"] == desk.thresholds["Hopper-v4"]
    assert "Ant-v4" not in sweep.thresholds


def test_a_bare_run_is_the_desk_scales_and_the_authors_warm_up_has_to_be_asked_for():
    protocol = read_protocol()
    desk, authors = protocol.scale("desk"), protocol.scale("authors_warm_up")
    bare = resolve_configuration("nc_lql", "HalfCheetah-v4", 0)
    assert {name: bare[name] for name in desk.sizes} == desk.sizes
    changed = {"transitions": 150_000, "warm_up": protocol.scale("paper").sizes["warm_up"]}
    assert authors.sizes == desk.sizes | changed
