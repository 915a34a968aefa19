"""From records of costs to tables and figures. Nothing here depends on the clock."""

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from audited import decided, derive, furnish, runs
from cost_records import CPU, ENVIRONMENTS, NETWORKS, action_seconds, plant_costs
from planted import curve, plant

import algorithms
from analysis import compare_probes, compute, cost_rows, time_to_threshold
from analysis.comparisons import crossings
from analysis.cost_rows import crossing
from analysis.derived import csv_bytes
from analysis.probes import samples as records
from analysis.probes.samples import ProbeRecordError, Sample
from analysis.records import read_scale

# From records to the table ------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path) -> pd.DataFrame:
    plant_costs(tmp_path)
    return compute.compute_table(compute.read_records(tmp_path))


def rows(table: pd.DataFrame, **fields) -> pd.DataFrame:
    for column, value in fields.items():
        table = table[table[column] == value]
    return table


def one(table: pd.DataFrame, **fields) -> pd.Series:
    chosen = rows(table, **fields)
    assert len(chosen) == 1, (fields, len(chosen))
    return chosen.iloc[0]


DENOISED = {"comparator": "diffusion_ql", "algorithm": "nc_lql"}


def test_times_are_medians_over_calls_and_means_over_processes(table):
    row = one(table, quantity="action_seconds", cases="action/nc_lql/base/1")
    slow = np.log([1, 1.25, 1.5, 1.75, 2])
    assert row["value"] == pytest.approx(0.002 * np.exp(slow.mean()))
    assert row["low"] < row["value"] < row["high"]
    assert (row["repeats"], row["samples"]) == (5, 100)
    late = one(table, quantity="action_seconds_p95", cases="action/nc_lql/base/1")
    # Of twenty calls the slowest takes ten times as long: the 95th percentile lies a twentieth of
    # the way to it.
    assert late["value"] == pytest.approx((1 + 9 / 20) * row["value"])
    update = one(table, quantity="update_seconds", cases="update/sac/base")
    assert update["value"] == pytest.approx(0.008 * np.exp(slow.mean())), "of four a call"


def test_ratios_are_taken_within_a_process(table):
    row = one(table, quantity="update_seconds", denoising_steps=5, **DENOISED)
    assert row[["low", "value", "high"]].tolist() == pytest.approx([0.080 / 0.035] * 3)
    # The slower half of the processes makes either time uncertain, and not their ratio.
    own = one(table, quantity="update_seconds", cases="update/nc_lql/base")
    assert own["high"] / own["low"] > 1.5
    acting = rows(table, quantity="action_seconds", denoising_steps=5, **DENOISED)
    assert acting["batch"].tolist() == [1]
    few = one(table, quantity="action_seconds", denoising_steps=5,
              **DENOISED | {"comparator": "diffusion_ql_one_candidate"})  # fmt: skip
    assert few["value"] == pytest.approx(0.002 / 1.1e-4)


def test_crossings_lie_where_costs_are_equal(table):
    for quantity, steps, expected in (
        ("update_seconds", 20, 14.0),
        ("action_seconds", 20, 0.002 / 1.2e-4),
        ("live_tensor_bytes_without_replay", 20, 6.0),
        ("update_seconds", 80, 62.0),
    ):
        row = one(table, quantity=f"{quantity}_crossing", steps=steps, **DENOISED)
        assert row[["low", "value", "high"]].tolist() == pytest.approx([expected] * 3)
        assert row["unit"] == "denoising step" and row["note"] == ""
    # Beyond what was measured nothing is said but that.
    far = one(table, quantity="action_seconds_crossing", steps=80,
              **DENOISED | {"comparator": "diffusion_ql_one_candidate"})  # fmt: skip
    assert np.isnan(far["value"]) and "costs no less at 100" in far["note"]
    cheap = one(table, quantity="update_seconds_crossing", algorithm="sac")
    assert np.isnan(cheap["value"]) and "at every number of steps" in cheap["note"]


def test_the_last_crossing_is_the_one_beyond_which():
    steps, noisy = [1, 5, 10, 20], np.array([1.0, 4.0, 2.0, 6.0])
    assert crossing(3.0, steps, noisy) == 12.5
    assert crossing(0.5, steps, noisy) == 0 and crossing(9.0, steps, noisy) == np.inf


def test_growth_has_its_exponents(table):
    for over, quantity, expected in (
        ("critic_layers", "update_seconds", 1.2),
        ("batch", "update_seconds", 0.9),
        ("batch", "action_seconds", 0.5),
        ("steps", "update_seconds", 1.0),
        ("critic_layers", "live_tensor_bytes_without_replay", 0.0),
        ("environments", "transitions_per_second", 1.0),
    ):
        row = one(table, quantity=f"{quantity}_exponent", over=over, algorithm="nc_lql")
        assert row["value"] == pytest.approx(expected, abs=1e-9), (over, quantity)
        assert row["repeats"] == 5


def test_batching_is_in_actions_and_not_in_calls(table):
    row = one(table, quantity="batching_gain", algorithm="nc_lql", batch=256)
    assert row["value"] == pytest.approx(256 / 16)
    calls = action_seconds("nc_lql", steps=20, batch=1) / action_seconds(
        "nc_lql", steps=20, batch=256
    )
    assert row["value"] != pytest.approx(calls)


def test_live_bytes_add_up(table):
    parts = rows(table, algorithm="nc_lql", cases="memory/nc_lql/base")
    by_name = parts.set_index("quantity")["value"]
    assert by_name["live_tensor_bytes"] == 50_000 + 500 + 6_000
    assert by_name["peak_resident_bytes"] == 802
    row = one(table, quantity="live_tensor_bytes_without_replay", cases="live_bytes/nc_lql/base")
    assert row["value"] == 6_500


def test_parameters_are_compared_at_equal_depth(tmp_path):
    """NC-LQL by default has more layers than SAC, and more parameters; as deep, SAC has more."""
    plant_costs(tmp_path)
    (machine,) = compute.machines_of(compute.read_records(tmp_path))
    (like,) = machine.find(quantity=cost_rows.TRAINED, case="live_bytes/nc_lql/base")

    def trained(name: str, layers: int, parameters: float, is_base: bool) -> cost_rows.Measure:
        sizes = like.about["sizes"] | {"critic_layers": layers}
        about = like.about | {"algorithm": name, "sizes": sizes, "is_base": is_base}
        values = pd.Series([parameters] * 5)
        return dataclasses.replace(like, about=about, values=values, case=f"{name}/{layers}")

    machine.measures = [
        trained("nc_lql", 3, 300, is_base=True),
        trained("sac", 2, 200, is_base=True),
        trained("sac", 3, 400, is_base=False),
    ]
    (row,) = cost_rows.equal_depths(machine)
    assert (row["algorithm"], row["comparator"], row["critic_layers"]) == ("nc_lql", "sac", 3)
    assert row["value"] == pytest.approx(0.75) and row["cases"] == "nc_lql/3 / sac/3"


def test_few_processes_have_no_interval(tmp_path):
    plant_costs(tmp_path, processes=4)
    found = compute.compute_table(compute.read_records(tmp_path))
    ratios = found[(found["comparator"] != "") & found["value"].notna()]
    assert len(ratios) and ratios[["low", "high"]].isna().all(axis=None)


def test_every_number_leads_back_to_its_samples(tmp_path, table):
    plant_costs(tmp_path)
    raw = {r.path: r.samples for r in compute.read_records(tmp_path)}
    for row in table.itertuples():
        assert row.processor and row.torch and row.device_type == "cpu"
        if row.cases == "counts":
            assert Path(row.record).exists()
            continue
        named = row.cases.replace(" / ", " + ").split(" + ")
        samples = raw[row.record]
        assert set(named) <= set(samples["case"]), row.quantity
        assert row.samples == samples["case"].isin(named).sum()


def test_claims_find_their_rows(tmp_path, monkeypatch):
    furnish(tmp_path)
    monkeypatch.chdir(tmp_path)
    returns = {}
    for name in algorithms.ALGORITHMS:
        returns |= runs(name, 1000, 5, environments=["Hopper-v4"])
    plan = plant(returns)
    derive(plan)
    plant_costs(tmp_path / "records")
    plant_costs(tmp_path / "records", device="cuda: NVIDIA H100")

    def verdicts() -> pd.DataFrame:
        table = compute.compute_table(compute.read_records(tmp_path / "records"))
        (tmp_path / "results/compute.csv").write_bytes(csv_bytes(table, compute.COUNTS))
        return decided(plan)

    found = verdicts()
    by_steps = [found.loc[f"10-cpu-{n}", "verdict"] for n in (5, 10, 20, 50, 100)]
    assert by_steps == ["not supported"] * 2 + ["supported"] * 3
    assert found.loc["9-cpu-5", "verdict"] == "not supported"
    assert found.loc["9-cpu-10", "verdict"] == "supported"
    assert found.loc["9-cpu-10", "reason"] == "counted"
    assert found.loc["10-cpu-20", "cell"].split()[0] in ("update", "action"), "which of its tests"
    assert found.loc["15", "value"] == pytest.approx(1.2)
    assert found.loc["12-cpu", "verdict"] == found.loc["12-cuda", "verdict"] == "supported"
    assert found.loc["11a-sac", "value"] == pytest.approx(4 / 5)
    # Another processor is a cell of its own, and the claim speaks of both.
    machine = records.conditions([], CPU)["machine"] | {"processor": "Another"}
    plant_costs(tmp_path / "records", machine=machine, slowed="update/diffusion_ql/steps=20")
    assert verdicts().loc["10-cpu-20", "cells"] == 2 * found.loc["10-cpu-20", "cells"]


def test_machines_that_count_differently_are_refused(tmp_path):
    plant_costs(tmp_path)
    counts = json.loads(next((tmp_path / "costs").glob("*.json")).read_text())["counts"]
    counts[0] |= {"networks": 7}
    plant_costs(tmp_path, device="cuda: NVIDIA H100", counts=counts)
    # Which comes first is by the name of the machine that runs this.
    told = r"(7 networks of nc_lql where .* has 4|4 networks of nc_lql where .* has 7): measured"
    with pytest.raises(ProbeRecordError, match=told):
        compute.compute_table(compute.read_records(tmp_path))


def test_a_row_names_the_conditions_of_its_own_record(tmp_path):
    """Times and bytes of one machine may be of two commits."""
    plant_costs(tmp_path)
    (file,) = (tmp_path / "memory").glob("*.json")
    file.write_text(file.read_text().replace("0" * 40, "1" * 40))
    table = compute.compute_table(compute.read_records(tmp_path))
    assert one(table, quantity="update_seconds", cases="update/sac/base")["commit"] == "0" * 40
    bytes_rows = table[table["record"].str.contains("/memory/")]
    assert len(bytes_rows) > 10 and set(bytes_rows["commit"]) == {"1" * 40}


# Time to thresholds -------------------------------------------------------------------------------


def test_a_rate_exchanges_the_environment_and_spares_the_warm_up(tmp_path):
    plant_costs(tmp_path, processes=1)
    (machine,) = compute.machines_of(compute.read_records(tmp_path))
    run = {"algorithm": "nc_lql", "env": "Hopper-v4", "num_envs": 5, "updates_per_step": 1}
    run |= {"settings": {"a": 1}, "warm_up": 1_000}
    rate = time_to_threshold.Rate.of(machine, run, {})
    # 50 transitions a second, one ms more in Hopper; an update of 80 ms for every five.
    assert rate.seconds(10_000) == pytest.approx(10_000 * 0.021 - 1_000 / 5 * 0.080)
    assert rate.seconds(500) == pytest.approx(500 * 0.021 - 500 / 5 * 0.080)
    for other in ({"settings": {"a": 2}}, {"num_envs": 10}, {"updates_per_step": 5}):
        assert time_to_threshold.Rate.of(machine, run | other, {}) is None, "not measured"
    tuned = run | {"settings": {"a": 1, "step_size": 0.1}}
    assert time_to_threshold.Rate.of(machine, tuned, {"a": 1, "step_size": 0.01}) is not None
    # A setting that is younger than the record counts as its default there.
    younger = run | {"settings": {"a": 1, "b": 3}}
    assert time_to_threshold.Rate.of(machine, younger, {"a": 1, "b": 3}) is not None
    assert time_to_threshold.Rate.of(machine, younger, {"a": 1, "b": 4}) is None


def test_the_clock_of_a_run_is_read_between_its_rows():
    metrics = pd.DataFrame({"transitions": [100, 200], "wall_seconds": [10.0, 40.0]})
    found = [time_to_threshold.wall_seconds(metrics, at) for at in (50, 100, 150, 200)]
    assert found == [5.0, 10.0, 25.0, 40.0]


def test_runs_that_never_get_there_are_cut_at_their_end_and_counted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hopper = "Hopper-v4"
    # Runs of 10,000 transitions in a minute; the smoothed return passes 500 at half way or never.
    returns = {(hopper, "nc_lql", seed): curve(1000.0) for seed in range(4)}
    returns[hopper, "nc_lql", 4] = curve(400.0)
    plan = plant(returns, thresholds={hopper: [500]})
    monkeypatch.setattr(time_to_threshold, "conditions", lambda name, document: {})
    runs = read_scale(plan, "desk")
    found = list(time_to_threshold.threshold_rows([], plan, runs))
    by = {row["quantity"]: row for row in found}
    assert set(by) == {"transitions_to_threshold", "recorded_seconds_to_threshold"}
    crossed = crossings(runs)["crossed"]
    assert np.isinf(crossed).sum() == 1 and (crossed[:4] < 5000).all()
    transitions = by["transitions_to_threshold"]
    assert transitions["value"] == pytest.approx((crossed[:4].sum() + 10_000) / 5)
    seconds = by["recorded_seconds_to_threshold"]
    assert seconds["value"] == pytest.approx(transitions["value"] * 60 / 10_000)
    assert transitions["censored"] == seconds["censored"] == 1 and transitions["repeats"] == 5


# Two runs -----------------------------------------------------------------------------------------


def test_two_runs_are_compared_ratio_by_ratio(tmp_path, capsys):
    plant_costs(tmp_path / "a")
    plant_costs(tmp_path / "b")
    assert compare_probes.main([str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    took = {"part": "times", "process": 0, "load_average_before": 3.0, "wall_seconds": 10.0}
    plant_costs(
        tmp_path / "b",
        slowed="update/diffusion_ql/steps=20",
        processes=5,
    )
    # A machine that is slower in everything is the same machine.
    assert compare_probes.main([str(tmp_path / "a"), str(tmp_path / "b")]) == 1
    told = capsys.readouterr().out
    assert "update/diffusion_ql/steps=20 × 1.50" in told and "name no cause" in told
    assert told.count("apart") == 2, "NC-LQL's and SAC's ratio to it, and no other"
    document = next((tmp_path / "b" / "costs").glob("*.json"))
    content = json.loads(document.read_text())
    content["processes"][0] = took | {"cpu_seconds": 5.0}
    document.write_text(json.dumps(content))
    compare_probes.main([str(tmp_path / "a"), str(tmp_path / "b")])
    assert "had 50% of a core, load 3.0" in capsys.readouterr().out


def test_a_ratio_that_one_run_lacks_is_named(tmp_path):
    plant_costs(tmp_path)
    whole = compare_probes.read_run(tmp_path)
    less = [r._replace(samples=r.samples[r.samples["case"] != "update/sac/base"]) for r in whole]
    table = compare_probes.compare(whole, less)
    told = [line for line in compare_probes.lines(table, 0.15) if "only A has it" in line]
    assert told and all("sac" in line and "update_seconds" in line for line in told)


# Files ------------------------------------------------------------------------------------------


def test_the_command_leaves_the_same_bytes_twice(tmp_path):
    plant_costs(tmp_path / "records")
    plant_costs(tmp_path / "records", device="cuda: NVIDIA H100")
    arguments = ["--records", str(tmp_path / "records"), "--output", str(tmp_path / "out")]
    found = []
    for _ in range(2):
        assert compute.main(arguments) == 0
        found.append({p.name: p.read_bytes() for p in (tmp_path / "out").rglob("*.*")})
    assert found[0] == found[1]
    assert tuple(pd.read_csv(tmp_path / "out/compute.csv")) == compute.COLUMNS
    assert {"cost_of_steps.svg", "cost_growth.svg", "memory_parts.svg"} < set(found[0])


def test_rings_stand_where_nc_lql_with_its_default_steps_is_crossed(table):
    """In whatever order the cases were timed."""
    from analysis.figures import cost_of_steps

    data = cost_of_steps.data(table)
    steps = data[data["comparator"] == ""].groupby(["quantity", "algorithm"])["steps"].nunique()
    drawn = cost_of_steps.draw(data)
    axes = [axis for part in drawn.subfigs for axis in part.axes]
    for axis, quantity in zip(axes, ("action_seconds", "update_seconds"), strict=False):
        assert steps[quantity, "nc_lql"] > 1
        (ring,) = [line for line in axis.lines if line.get_fillstyle() == "none"]
        crossing = one(table, **DENOISED, quantity=f"{quantity}_crossing", steps=20)
        assert ring.get_xdata() == pytest.approx([crossing["value"]])


@pytest.mark.parametrize("module", compute.FIGURES)
def test_machines_never_share_a_panel(tmp_path, module):
    plant_costs(tmp_path)
    single = compute.compute_table(compute.read_records(tmp_path))
    machine = records.conditions([], CPU)["machine"] | {"processor": "Another"}
    plant_costs(tmp_path, machine=machine)
    both = compute.compute_table(compute.read_records(tmp_path))
    for table, count in ((single, 1), (both, 2)):
        data = module.data(table).reset_index(drop=True)
        drawn = module.draw(data)
        assert len(drawn.subfigs) == count
        assert all(part.legends[0].get_title().get_text() for part in drawn.subfigs)


def test_quick_records_and_none_are_no_results(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProbeRecordError, match="analysis.probes.costs"):
        compute.read_records(compute.RECORDS)
    plant_costs(compute.RECORDS, is_quick=True)
    with pytest.raises(ProbeRecordError, match="quick"):
        compute.read_records(compute.RECORDS)
    assert compute.main(["--output", "out"]) == 2 and not Path("out").exists()
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_record_without_processes_is_of_one(tmp_path):
    document = {**records.conditions([], CPU), "cases": {"a": {}}}
    path = records.write(tmp_path, document, [Sample("a", 0, 0, 1, 0.5, 3)])
    assert records.read(path).samples["process"].tolist() == [3]
    lines = [line.rpartition(",")[0] for line in path.read_text().splitlines()]
    content = ("\n".join(lines) + "\n").encode()
    path.write_bytes(content)
    with pytest.raises(ProbeRecordError, match="not those"):
        records.read(path)


def test_planted_and_counted_agree(table):
    for (name, (networks, parameters, numbers)), env in itertools.product(
        NETWORKS.items(), ENVIRONMENTS
    ):
        own = {"algorithm": name, "comparator": ""}
        assert one(table, quantity="networks", env=env, **own)["value"] == networks
        assert one(table, quantity="trainable_parameters", env=env, **own)["value"] == parameters
        assert one(table, quantity="hyperparameters", **own)["value"] == numbers
