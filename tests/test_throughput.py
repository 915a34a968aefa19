"""What the throughput benchmark counts, records and derives. Nothing here depends on the clock."""

import getpass
import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from algorithms.record import machine
from analysis import throughput
from analysis.figures import throughput as growth_figure
from analysis.probes import samples as records
from analysis.probes import subjects, timing
from analysis.probes import throughput as probe
from analysis.probes.products import ACTING, LEARNING, Sizes, flops, langevin_chain, nc_lql
from analysis.probes.samples import ProbeRecordError, Sample

CPU = torch.device("cpu")
HALF_CHEETAH = Sizes(17, 6, batch=256, width=256, layers=3, steps=20)

# FLOPs ------------------------------------------------------------------------------------------


def test_counts_at_the_desk_sizes():
    assert flops(langevin_chain(HALF_CHEETAH, 256)) / 1e9 == pytest.approx(5.4, abs=0.05)
    assert flops(nc_lql(HALF_CHEETAH)) / 1e9 == pytest.approx(6.4, abs=0.05)


def counted(run) -> int:
    """Floating-point operations of the matrix products in a call, as torch sees them."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def small(name: str):
    settings = {"epochs": 1, "minibatches": 4} if name == "ppo" else {"batch_size": 32}
    return subjects.make(name, CPU, compile=False, **settings)


@pytest.mark.parametrize("steps", [1, 7])
def test_the_count_of_a_chain_is_torchs(steps):
    agent = subjects.make("lql", CPU, compile=False, chain_steps=steps, hidden_width=32)
    sizes = subjects.sizes_of(agent, "lql")
    found = counted(lambda: agent.act(torch.zeros(5, 17), explore=True))
    assert found == flops(langevin_chain(sizes, 5))
    # What does not depend on the action is counted once a chain, not once a step.
    observation = 2 * 2 * 5 * 17 * 32
    assert (found == flops(langevin_chain(sizes, 5)) + (steps - 1) * observation) == (steps == 1)


@pytest.mark.parametrize("name", LEARNING)
def test_learning_does_what_is_counted_and_little_else(name):
    agent = small(name)
    run, prepare = subjects.learner(agent, name)
    if prepare:
        prepare()
    sizes = subjects.sizes_of(agent, name)
    needed = flops(LEARNING[name](sizes))
    # Beyond what is needed: embeddings and one-hot rows of levels; LQL's length of the drift, on 16
    # rows; SAC's gradient for the observation; PPO's probabilities of its own actions (a third of
    # its one epoch here, a thirtieth of ten).
    assert needed * 0.999 <= counted(run) <= needed * (1.4 if name == "ppo" else 1.04)
    # A batch with one row more is seen.
    assert flops(LEARNING[name](sizes._replace(batch=sizes.batch + 1))) > needed


@pytest.mark.parametrize("name", ACTING)
def test_acting_does_what_is_counted_and_little_else(name):
    agent = small(name)
    needed = flops(ACTING[name](subjects.sizes_of(agent, name), 5))
    found = counted(lambda: agent.act(torch.zeros(5, 17), explore=True))
    # Diffusion-QL multiplies each observation as often as it has candidates.
    assert needed <= found <= needed * 1.06


def test_timing_products_alone_does_all_of_them():
    products = nc_lql(HALF_CHEETAH._replace(batch=4, width=8))
    run = timing.products_only(products, "bfloat16", CPU)
    assert counted(run) == flops(products)
    assert flops(products) == flops(products, True) + flops(products, False)
    assert flops(products, True) == 2 * 2 * 4 * 8 * 8 * 2 * 2 * 20


# From a call to a record ------------------------------------------------------------------------


def test_every_round_has_every_case_in_an_order_of_its_own():
    cases = [timing.Case(name, {}, lambda: None) for name in "abcdef"]
    samples = timing.measure(cases, 4, CPU, shortest=0)
    rounds = [[s.case for s in samples if s.round == k] for k in range(4)]
    assert all(sorted(names) == list("abcdef") for names in rounds)
    assert len({tuple(names) for names in rounds}) > 1
    again = timing.measure(cases, 4, CPU, shortest=0)
    assert [(s.case, s.round, s.order) for s in samples] == [
        (s.case, s.round, s.order) for s in again
    ]


def test_preparing_comes_before_every_sample_and_a_sample_is_then_one_call():
    log = []
    case = timing.Case("a", {}, lambda: log.append("run"), lambda: log.append("prepare"))
    (sample,) = timing.measure([case], 1, CPU, shortest=1.0)
    assert sample.calls == 1
    assert log == ["prepare", "run"] * (timing.BURN_IN_CALLS + 1)


def conditions(command=("python", "-m", "analysis.probes.throughput")) -> dict:
    return {"probe": "throughput", **records.conditions(list(command), CPU), "is_quick": False}


def test_a_record_of_real_agents_is_derived_from(tmp_path):
    cases = []
    for name in LEARNING:
        agent = small(name)
        cases.append(subjects.act_case("updates", agent, name))
        cases.append(subjects.products_case("updates", agent, name))
    agent = small("sac")
    cases.append(subjects.learn_case("updates", agent, "sac"))
    cases += timing.matrix_product_cases("updates", ["float32"], CPU)[:1]
    samples = timing.measure(cases, 2, CPU, shortest=0)
    about = {case.name: {"group": "updates"} | case.about for case in cases}
    path = records.write(tmp_path, {**conditions(), "cases": about}, samples)
    table = throughput.throughput_table(records.read_all(tmp_path))
    assert len(table[table["kind"] == "time"]) == len(cases) - 1
    assert (table["share_of_limit"].dropna() > 0).all()
    text = path.read_text() + path.with_suffix(".json").read_text()
    assert socket.gethostname() not in text
    assert str(Path.home()) not in text and str(records.Path.cwd()) not in text
    if getpass.getuser() != "root":
        assert getpass.getuser() not in text


# From a record to the table ---------------------------------------------------------------------


def planted(folder: Path, device: str = "cpu", **changes) -> Path:
    """A record whose numbers are known: a machine of 100 GFLOP/s that is half as fast in every
    second round."""
    seconds = {
        "updates/matrix_product/float32/512": 2 * 512**3 / 80e9,
        "updates/matrix_product/float32/1024": 2 * 1024**3 / 100e9,
        "updates/matrix_product/bfloat16/1024": 2 * 1024**3 / 200e9,
        "updates/nc_lql/learn/float32/compiled": 0.080,
        "updates/nc_lql/learn/float32/eager": 0.200,
        "updates/nc_lql/learn/bfloat16/compiled": 0.050,
        "updates/nc_lql/products/float32/eager": 0.064,
        "training/ppo/ours": 1.0,
        "training/ppo/stable_baselines3": 2.5,
        "loop/nc_lql/float32/vector_step": 0.100,
        "loop/nc_lql/float32/learn": 0.090,
        "loop/nc_lql/float32/act": 0.007,
        "loop/nc_lql/float32/environment": 0.002,
        "loop/nc_lql/float32/observe": 0.001,
        "loop/nc_lql/float32/evaluation": 10.0,
        "loop/nc_lql/float32/metrics_row": 0.001,
        "loop/nc_lql/float32/checkpoint": 3.0,
        "compilation/nc_lql/float32/cold/act": 9.0,
        "compilation/nc_lql/float32/cold/learn": 12.0,
        **{f"growth/nc_lql/learn/batch={n}": 1e-4 * n**1.5 for n in (64, 256, 1024)},
        "growth/matrix_product/float32/1024": 2 * 1024**3 / 100e9,
    }
    run = {"vector_step": 1000, "learning_step": 900, "evaluation": 4, "metrics_row": 10}
    run["checkpoint_seconds"] = 300.0
    cases, rows = {}, []
    for name in seconds:
        group, *parts = name.split("/")
        about = {"group": group, "units": 1, "precision": "float32"}
        if "matrix_product" in parts:
            size = int(parts[-1])
            about |= {"quantity": "matrix_product", "precision": parts[1]}
            about |= {"sizes": {"matrix": size}, "flops": {parts[1]: 2 * size**3}}
        else:
            about |= {"algorithm": parts[0], "quantity": parts[1], "compiled": True}
        if group == "updates" and parts[0] == "nc_lql":
            about |= {"precision": parts[2], "compiled": parts[3] == "compiled"}
            about["flops"] = {"float32": 6.4e9}
            if parts[2] == "bfloat16":
                about["flops"] = {"float32": 1e9, "bfloat16": 5.4e9}
        if group == "training":
            about |= {"quantity": "end_to_end", "implementation": parts[1], "units": 2000}
        if group == "loop":
            about |= {"quantity": parts[2], "run": run}
        if group == "compilation":
            about |= {"quantity": "compilation", "cache": parts[2], "call": parts[3]}
        if group == "growth" and parts[0] == "nc_lql":
            about |= {"parameter": "batch", "value": int(parts[2].partition("=")[2])}
            about["flops"] = {"float32": about["value"] * 25e6}
        cases[name] = about
        for number in range(4):
            slowed = seconds[name] * (1 + number % 2)
            rows.append(Sample(name, number, 0, 2, 2 * slowed))
    document = {**conditions(), "device": device, "cases": cases, **changes}
    return records.write(folder, document, rows)


@pytest.fixture
def table(tmp_path) -> pd.DataFrame:
    planted(tmp_path)
    return throughput.throughput_table(records.read_all(tmp_path))


def one(table: pd.DataFrame, **fields) -> pd.Series:
    chosen = table
    for column, value in fields.items():
        chosen = chosen[chosen[column] == value]
    assert len(chosen) == 1, (fields, len(chosen))
    return chosen.iloc[0]


def test_times_are_medians_and_quartiles_of_seconds_a_call(table):
    row = one(table, kind="time", quantity="learn", precision="bfloat16", part="updates")
    found = [row[name] for name in ("lower_quartile", "median", "upper_quartile", "fastest")]
    assert found == pytest.approx([0.050, 0.075, 0.100, 0.050])
    assert row["samples"] == 4
    assert row["units_per_second"] == pytest.approx(1 / 0.075)
    limit = one(table, kind="limit", part="updates", precision="float32")
    assert limit["value"] == 1024, "the best size, not the first"


def test_the_share_of_the_limit_is_of_the_same_round_and_precision(table):
    row = one(table, kind="time", quantity="learn", cases="updates/nc_lql/learn/float32/compiled")
    # A machine that is slow in half of the rounds is slow in both; the share does not move.
    shares = row[["share_lower_quartile", "share_of_limit", "share_upper_quartile"]].tolist()
    assert shares == pytest.approx([0.8] * 3)
    # Against the fastest that the machine ever was, it would have seemed to.
    assert 6.4e9 / row["median"] / 100e9 == pytest.approx(0.8 / 1.5)
    mixed = one(table, kind="time", cases="updates/nc_lql/learn/bfloat16/compiled")
    assert mixed["share_of_limit"] == pytest.approx((1e9 / 100e9 + 5.4e9 / 200e9) / 0.050)


@pytest.mark.parametrize(
    ("quantity", "value", "aim"),
    [
        ("learn: bfloat16 over float32", 0.625, "at most 0.65"),
        ("learn: eager over compiled", 2.5, None),
        ("learn over its matrix products", 1.25, None),
        ("transitions a second over Stable-Baselines3's", 2.5, "at least 2"),
        ("act over a vector step", 0.07, None),
    ],
)
def test_ratios_are_taken_round_by_round(table, quantity, value, aim):
    row = one(table, kind="ratio", quantity=quantity)
    found = row[["lower_quartile", "median", "upper_quartile"]].tolist()
    assert found == pytest.approx([value] * 3)
    assert (row["aim"] if aim else None) == aim


def test_the_share_of_a_desk_run_outside_of_learn_has_all_its_parts(table):
    row = one(table, kind="ratio", quantity="share of a desk run outside of learn")
    # Of the rounds without slowdown; evaluations, rows and checkpoints at their medians.
    around, learning = 1000 * 0.010 + 4 * 15.0 + 10 * 0.0015, 900 * 0.090
    saving = (around + learning) * 4.5 / 300
    share = (around + saving) / (around + saving + learning)
    slow = 2 * 1000 * 0.010 + 4 * 15.0 + 10 * 0.0015, 2 * learning
    slow_share = (slow[0] + sum(slow) * 4.5 / 300) / (sum(slow) * (1 + 4.5 / 300))
    assert row["upper_quartile"] == pytest.approx(share)
    assert row["lower_quartile"] == pytest.approx(slow_share)
    assert share > 1 - 0.090 / 0.100 + 0.2, "a vector step alone would hide the evaluations"


def test_compiling_is_the_sum_of_first_calls(table):
    row = one(table, quantity="compilation", value="cold")
    assert row["median"] == pytest.approx(1.5 * 21.0)
    assert row["aim"] == "at most 30"
    assert one(table, quantity="compilation of act")["median"] == pytest.approx(1.5 * 9.0)


def test_growth_has_its_exponent(table):
    row = one(table, kind="exponent", parameter="batch")
    assert row["median"] == pytest.approx(1.5)


def test_every_row_leads_back_to_its_samples(tmp_path, table):
    raw = pd.read_csv(planted(tmp_path))
    raw["seconds_a_call"] = raw["seconds"] / raw["calls"]
    for row in table.itertuples():
        named = row.cases.replace(" / ", " + ").split(" + ")
        assert set(named) <= set(raw["case"])
        assert Path(row.record).exists() and row.device == "cpu" and row.processor
        if row.kind in ("time", "limit") and len(named) == 1:
            chosen = raw.loc[raw["case"] == named[0], "seconds_a_call"]
            assert row.median == np.median(chosen) and row.samples == len(chosen)
    timed = table[table["kind"].isin(["time", "limit"])]
    others = {"updates/matrix_product/float32/512"}  # not the best size
    assert set(raw["case"]) - others <= set(" + ".join(timed["cases"]).split(" + "))


def test_machines_stand_side_by_side(tmp_path):
    planted(tmp_path)
    planted(tmp_path, device="cuda: NVIDIA H200")
    found = throughput.throughput_table(records.read_all(tmp_path))
    # In the order of the machines' names, and one is that of the machine that runs this.
    devices = found.groupby("machine")["device"].unique().map(list)
    assert sorted(devices) == [["cpu"], ["cuda: NVIDIA H200"]]
    drawn = growth_figure.draw(growth_figure.data(found))
    assert len(drawn.subfigs) == 2, "they never share a panel"
    assert all(text.get_ha() == "left" for text in drawn.subfigs[0].axes[0].texts)
    assert found["commit"].iloc[0][:10] in drawn.subfigs[0].get_suptitle()


def test_a_machine_is_named_by_what_makes_it_fast():
    machine = {"processor": "AMD EPYC Processor", "cores": 2}
    known = [{"instructions": name} for name in ("AVX2", "AVX512")]
    names = [
        records.machine_name({"device": "cpu", "machine": machine | more}) for more in (*known, {})
    ]
    assert names == ["amd-epyc-avx2-2-cores", "amd-epyc-avx512-2-cores", "amd-epyc-2-cores"]
    gpu = {"device": "cuda: NVIDIA H200", "machine": machine | known[0]}
    assert records.machine_name(gpu) == "cuda-nvidia-h200"


def test_the_command_line_leaves_the_same_bytes_twice(tmp_path):
    planted(tmp_path / "records")
    found = []
    for _ in range(2):
        for module, name in ((throughput, "t.csv"), (growth_figure, "g.svg")):
            arguments = ["--records", str(tmp_path / "records"), "--output", str(tmp_path / name)]
            assert module.main(arguments) == 0
        found.append([(tmp_path / n).read_bytes() for n in ("t.csv", "g.svg", "g.csv")])
    assert found[0] == found[1]
    assert tuple(pd.read_csv(tmp_path / "t.csv")) == throughput.COLUMNS


# What is refused --------------------------------------------------------------------------------


def edited(path: Path) -> None:
    path.write_text(path.read_text().replace(",0.16", ",0.12", 1))


def without_document(path: Path) -> None:
    path.with_suffix(".json").unlink()


def torn(path: Path) -> None:
    document = path.with_suffix(".json")
    document.write_text(document.read_text()[:-20])


@pytest.mark.parametrize("damage", [edited, without_document, torn])
def test_a_damaged_record_is_refused_by_name(tmp_path, damage, capsys):
    path = planted(tmp_path)
    assert throughput.records_of(tmp_path)
    damage(path)
    with pytest.raises(ProbeRecordError, match=path.stem):
        throughput.records_of(tmp_path)
    output = tmp_path / "t.csv"
    assert throughput.main(["--records", str(tmp_path), "--output", str(output)]) == 2
    assert not output.exists() and len(capsys.readouterr().err.splitlines()) == 1


def test_samples_without_a_case_or_time_are_refused(tmp_path):
    for samples, reason in (
        ([Sample("unheard of", 0, 0, 1, 1.0)], "no case"),
        ([Sample("a", 0, 0, 1, 0.0)], "line 2"),
    ):
        records.write(tmp_path, {**conditions(), "cases": {"a": {}}}, samples)
        with pytest.raises(ProbeRecordError, match=reason):
            records.read_all(tmp_path)


def test_quick_records_and_none_are_no_results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProbeRecordError, match="analysis.probes.throughput"):
        throughput.records_of(throughput.RECORDS)
    planted(throughput.RECORDS, is_quick=True)
    with pytest.raises(ProbeRecordError, match="quick"):
        throughput.records_of(throughput.RECORDS)
    planted(throughput.RECORDS, is_quick=False)
    assert throughput.records_of(throughput.RECORDS)


def test_a_record_is_not_written_over_by_one_of_less(tmp_path, capsys):
    conditions = {"machine": machine(), "device": "cpu"}
    cases = {"a": {"group": "loop", "algorithm": "sac"}, "b": {"group": "updates"}}
    (tmp_path / f"{records.machine_name(conditions)}.json").write_text(json.dumps({"cases": cases}))
    for less, told in ((["--algorithms", "ppo"], "algorithms sac"), (["--parts", "loop"], "parts")):
        assert probe.main([*less, "--output", str(tmp_path)]) == 2
        assert f"is of the {told}" in capsys.readouterr().err
    measured = {"parts": probe.PARTS, "algorithms": ["ppo", "sac"]}
    assert records.would_drop(tmp_path, conditions, probe.contents, measured) is None


@pytest.mark.long
def test_the_probe_runs_from_end_to_end(tmp_path):
    command = [sys.executable, "-m", "analysis.probes.throughput", "--quick"]
    command += ["--algorithms", "nc_lql", "ppo", "--output", str(tmp_path)]
    subprocess.run(command, check=True)
    table = throughput.throughput_table(throughput.records_of(tmp_path))
    assert set(table["part"]) == {"updates", "compilation", "loop", "training", "growth"}
    assert set(table["kind"]) == {"time", "limit", "ratio", "exponent"}
