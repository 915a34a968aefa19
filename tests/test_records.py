"""Records: read whole, or refused with the file and the reason; never a traceback."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from run_records import CONFIGURATION, plant_record
from runs import run as train

from algorithms.options import planned_evaluations
from analysis import records
from analysis.records import RecordError, load_plan, read_run, read_scale

FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def test_a_planted_record_is_read(tmp_path):
    run = read_run(plant_record(tmp_path / "run"))
    assert run.status == "complete"
    assert run.evaluations.columns.tolist() == list(records.EVALUATION_COLUMNS)
    assert run.evaluations["transitions"].unique().tolist() == [0, 250, 500, 750, 1000]
    assert math.isnan(run.metrics["seldom"].iloc[0])


def test_evaluations_are_counted_back_from_the_end():
    """The authors' code evaluates at 30,000 + k * 125,000; counted from 0, the end is missed."""
    paper = planned_evaluations({"transitions": 5_030_000, "evaluate_every": 125_000})
    assert paper[:3] == [0, 30_000, 155_000] and paper[-1] == 5_030_000 and len(paper) == 42
    assert 5_030_000 not in range(0, 5_030_001, 125_000)
    assert planned_evaluations({"transitions": 100, "evaluate_every": 50}) == [0, 50, 100]
    assert planned_evaluations({"transitions": 100, "evaluate_every": 100}) == [0, 100]


@pytest.mark.parametrize("stops_at", [None, 600])
@pytest.mark.parametrize("name", records.FILES)
def test_a_file_cut_at_any_byte_is_refused(tmp_path, name, stops_at):
    file = plant_record(tmp_path / "run", stops_at=stops_at) / name
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(RecordError) as refusal:
            read_run(file.parent)
        assert refusal.value.file == str(file)
    file.write_bytes(whole)
    read_run(file.parent)


@pytest.mark.parametrize("name", records.FILES)
def test_a_missing_file_is_named(tmp_path, name):
    file = plant_record(tmp_path / "run") / name
    file.unlink()
    with pytest.raises(RecordError, match=f"{name}: missing"):
        read_run(file.parent)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
@pytest.mark.parametrize("name", ["evaluations.csv", "metrics.csv"])
def test_what_is_not_finite_is_refused(tmp_path, name, value):
    file = plant_record(tmp_path / "run") / name
    header, first, *rest = file.read_text().splitlines()
    cells = first.split(",")
    column = 3 if name == "evaluations.csv" else 2
    cells[column] = value
    file.write_text("\n".join([header, ",".join(cells), *rest]) + "\n")
    with pytest.raises(RecordError, match=rf"{name}: line 2: {header.split(',')[column]} is"):
        read_run(file.parent)


def test_a_diverged_run_is_a_result(tmp_path):
    run = read_run(plant_record(tmp_path / "run", stops_at=600))
    assert run.status == "diverged"
    assert run.evaluations["transitions"].max() == 500
    file = tmp_path / "run" / "metrics.csv"
    file.write_text("transitions,updates,critic_loss\n600,80,nan\n")
    read_run(tmp_path / "run")


def test_a_complete_run_that_stops_early_is_refused(tmp_path):
    """The bytes of a diverged run, called complete: the rows alone do not show it."""
    folder = plant_record(tmp_path / "run", stops_at=600)
    called_complete = json.loads((folder / "run.json").read_text()) | {"status": "complete"}
    (folder / "run.json").write_text(json.dumps(called_complete) + "\n")
    with pytest.raises(RecordError, match="complete at 600 of 1000 transitions"):
        read_run(folder)
    (folder / "run.json").write_text(json.dumps(called_complete | {"transitions": 1000}) + "\n")
    with pytest.raises(RecordError, match="3 of 5 evaluations; the one at 750 is"):
        read_run(folder)


def test_a_diverged_run_has_no_evaluation_of_later(tmp_path):
    """One at its very end may be what diverged; the next was never reached."""
    folder = plant_record(tmp_path / "run", stops_at=750)
    assert read_run(folder).evaluations["transitions"].max() == 750
    document = json.loads((folder / "run.json").read_text()) | {"transitions": 600}
    (folder / "run.json").write_text(json.dumps(document) + "\n")
    (folder / "metrics.csv").write_text("transitions,updates,critic_loss\n600,80,nan\n")
    with pytest.raises(RecordError, match="4 of 3 evaluations; the one at 750 is wrong"):
        read_run(folder)


@pytest.mark.parametrize("field", ["discount", "seed"])
def test_a_configuration_that_was_edited_is_not_the_one_that_ran(tmp_path, field):
    folder = plant_record(tmp_path / "run", CONFIGURATION | {"settings": {"discount": 0.9}})
    read_run(folder)
    text = (folder / "run.json").read_text()
    as_it_ran = {"discount": '"discount": 0.9', "seed": '"seed": 0'}[field]
    assert text.count(as_it_ran) == 1
    (folder / "run.json").write_text(text.replace(as_it_ran, as_it_ran[:-1] + "8"))
    with pytest.raises(RecordError, match="run.json: configuration_hash is of another"):
        read_run(folder)


@pytest.mark.parametrize("name", records.FILES[1:])
def test_a_table_that_was_edited_is_not_the_one_that_was_written(tmp_path, name):
    """A digit more or less; records made before there were digests are read as they are."""
    train(tmp_path, transitions=40, warm_up=4, evaluate_every=40)
    file, text = tmp_path / name, (tmp_path / name).read_text()
    read_run(tmp_path)
    at = text.rindex(".") + 1
    file.write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])
    with pytest.raises(RecordError, match=f"{name}: is not the table that its run.json"):
        read_run(tmp_path)
    document = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(document | {"tables_sha256": [name]}) + "\n")
    with pytest.raises(RecordError, match="is not the table"):
        read_run(tmp_path)
    del document["tables_sha256"]
    (tmp_path / "run.json").write_text(json.dumps(document) + "\n")
    read_run(tmp_path)


@pytest.mark.parametrize("line", [1, 2, 6, 15])
def test_every_episode_of_every_evaluation_is_needed(tmp_path, line):
    file = plant_record(tmp_path / "run") / "evaluations.csv"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:line] + lines[line + 1 :]))
    with pytest.raises(RecordError, match="2 of 3 episodes of the evaluation at"):
        read_run(file.parent)
    file.write_text("".join(lines[:line] + [lines[line]] + lines[line:]))
    with pytest.raises(RecordError, match="4 of 3 episodes of the evaluation at"):
        read_run(file.parent)


@pytest.mark.parametrize("name", records.FILES)
def test_whatever_the_bytes_a_record_or_the_error(tmp_path, name):
    file = plant_record(tmp_path / "run") / name
    whole = file.read_bytes()

    @FUZZ
    @given(content=st.binary(max_size=300) | _damaged(whole))
    def read(content):
        file.write_bytes(content)
        try:
            read_run(file.parent)
        except RecordError as error:
            assert str(file) in str(error) and "\n" not in str(error)

    read()


@FUZZ
@given(
    document=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["status", "configuration", "transitions", "wall_seconds", "updates"]
                ),
                inner,
            )
        ),
    )
)
def test_whatever_the_json_a_record_or_the_error(tmp_path, document):
    folder = plant_record(tmp_path / "run")
    valid = json.loads((folder / "run.json").read_text())
    merged = valid | document if isinstance(document, dict) else document
    (folder / "run.json").write_text(json.dumps(merged) + "\n")
    try:
        read_run(folder)
    except RecordError as error:
        assert "run.json" in str(error) or "evaluations.csv" in str(error)


def _damaged(whole: bytes):
    """Spans of a whole file replaced by other bytes."""
    positions = st.integers(0, len(whole))
    return st.builds(
        lambda a, b, new: whole[: min(a, b)] + new + whole[max(a, b) :],
        positions,
        positions,
        st.binary(max_size=8) | st.sampled_from([b"NaN", b"1e999", b'"', b"\x00", b"[" * 5000]),
    )


def _plan(tmp_path: Path, monkeypatch, seeds=(0, 1)) -> dict:
    """A scale of planted runs, as `analysis.plan` would leave it."""
    monkeypatch.chdir(tmp_path)
    runs = []
    for seed in seeds:
        configuration = CONFIGURATION | {"seed": seed}
        path = plant_record(Path(f"results/runs/desk/Hopper-v4/ppo/seed{seed}"), configuration)
        runs.append(
            {
                "path": str(path),
                "env": "Hopper-v4",
                "algorithm": "ppo",
                "seed": seed,
                "configuration": configuration,
                "hash": "0" * 64,
                "digest": records.record_digest(path),
            }
        )
    plan = {"scale": "desk", "scales": {"desk": {"runs": runs}}, "hyperparameters": {}}
    Path("results/plan.json").write_text(json.dumps(plan) + "\n")
    return load_plan("desk")


def test_a_scale_is_read_with_episodes_averaged(tmp_path, monkeypatch):
    found = read_scale(_plan(tmp_path, monkeypatch), "desk")
    assert found.runs[["seed", "status", "gap"]].values.tolist() == [
        [0, "complete", False],
        [1, "complete", False],
    ]
    assert found.runs["updates"].tolist() == [200, 200]
    assert len(found.evaluations) == 2 * 5
    assert (found.evaluations["return_count"] == 3).all()
    episodes = read_run(found.runs["path"][1]).evaluations
    last = episodes[episodes["transitions"] == 1000]["return"].mean()
    assert found.evaluations["return_mean"].iloc[-1] == pytest.approx(last)


def test_a_missing_run_is_refused_or_a_named_gap(tmp_path, monkeypatch):
    plan = _plan(tmp_path, monkeypatch)
    path = Path(plan["scales"]["desk"]["runs"][1]["path"])
    (path / "run.json").unlink()
    with pytest.raises(RecordError, match=f"{path}/run.json: missing"):
        read_scale(plan, "desk")
    found = read_scale(plan, "desk", missing="gap")
    assert found.runs["gap"].tolist() == [False, True]
    assert found.runs["status"].tolist() == ["complete", "missing"]
    assert found.evaluations["seed"].unique().tolist() == [0]


def test_all_runs_missing_leaves_gaps_only(tmp_path, monkeypatch):
    plan = _plan(tmp_path, monkeypatch)
    for run in plan["scales"]["desk"]["runs"]:
        Path(run["path"], "run.json").unlink()
    found = read_scale(plan, "desk", missing="gap")
    assert found.runs["gap"].all() and found.evaluations.empty
    assert "return_mean" in found.evaluations


@pytest.mark.parametrize("missing", ["refuse", "gap"])
def test_a_record_of_another_configuration_is_refused_by_field(tmp_path, monkeypatch, missing):
    plan = _plan(tmp_path, monkeypatch)
    path = plan["scales"]["desk"]["runs"][0]["path"]
    plant_record(path, CONFIGURATION | {"warm_up": 100})
    with pytest.raises(RecordError, match=f"warm_up is 100 in the record, 0 .* delete {path}"):
        read_scale(plan, "desk", missing)


def test_a_record_changed_after_the_plan_is_refused(tmp_path, monkeypatch):
    """One digit of one return: nothing but the digest shows it."""
    plan = _plan(tmp_path, monkeypatch)
    file = Path(plan["scales"]["desk"]["runs"][0]["path"]) / "evaluations.csv"
    text = file.read_text()
    at = text.rindex(".") + 1
    file.write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])
    read_run(file.parent)
    with pytest.raises(RecordError, match="changed since plan.json was made"):
        read_scale(plan, "desk")


def test_a_diverged_run_stays_in_the_scale(tmp_path, monkeypatch):
    plan = _plan(tmp_path, monkeypatch)
    run = plan["scales"]["desk"]["runs"][1]
    plant_record(run["path"], run["configuration"], stops_at=600)
    run["digest"] = records.record_digest(run["path"])
    found = read_scale(plan, "desk")
    assert found.runs["status"].tolist() == ["complete", "diverged"]
    assert found.runs["transitions"].tolist() == [1000, 600]


def test_a_plan_that_is_missing_or_damaged_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        RecordError, match="results/plan.json: missing .*analysis.plan --scale desk"
    ):
        load_plan("desk")
    Path("results").mkdir()
    Path("results/plan.json").write_text("[1]\n")
    with pytest.raises(RecordError, match="holds a list"):
        load_plan("desk")
    Path("results/plan.json").write_text('{"scale": "desk", "scales": {"desk": {}}}\n')
    with pytest.raises(RecordError, match="has no plan of scale 'paper'"):
        load_plan("paper")


@FUZZ
@given(content=st.binary(max_size=200))
def test_whatever_the_bytes_a_plan_or_the_error(tmp_path, content):
    (tmp_path / "plan.json").write_bytes(content)
    with pytest.raises(RecordError):
        load_plan("desk", tmp_path)
