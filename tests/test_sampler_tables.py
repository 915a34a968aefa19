"""From records of samplers to their tables and figures."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import repository
import torch

from analysis import exactness, mixing, sampler_records
from analysis.figures import mixing as mixing_figure
from analysis.figures import sampler_exactness
from analysis.probes import distances, quantities
from analysis.probes import exactness as exactness_probe
from analysis.probes import mixing as mixing_probe
from analysis.probes.laboratory import Place
from analysis.probes.quantities import Measurement
from analysis.probes.samplers import Target, fine_step_sizes_of, step_sizes_of
from analysis.probes.samples import ProbeRecordError, conditions

CPU = torch.device("cpu")


def planted(folder: Path, probe: str, measurements, scale: str = "desk") -> Path:
    document = {"probe": probe, **conditions(["python"], CPU), "scale": scale}
    names = {"exactness": exactness_probe.QUANTITIES, "mixing": mixing_probe.QUANTITIES}[probe]
    return quantities.write(folder, document, measurements, names)


def exactness_record(folder: Path, **options) -> Path:
    """Total variation 0.1 above a floor of 0.02; energy distance three times its floor."""
    place = {"landscape": "mixture", "dimension": 2, "distance": 1.0, "scale": 1.0}
    place |= {"temperature_factor": 1.0, "boundary": "clip", "chains": 100}

    def rows(variation, energy, share=0.0):
        return [
            {
                "total_variation_of_others": variation + 0.001 * (k - 2.5),
                "energy_distance": energy * (1 + 0.01 * (k - 2.5)),
                "mode_weight_error": share + 0.01 * (k - 2.5),
                "face_share": 0.0,
            }
            for k in range(6)
        ]

    main = place | {"study": "main", "step_size": 1e-3}
    held = main | {"sampler": "authors", "steps": "stationary", "r_hat": 1.8}
    by_step = main | {"study": "step_size", "sampler": "plain", "steps": 20}
    return planted(
        folder,
        "exactness",
        [
            Measurement(main | {"sampler": "plain", "steps": 20}, rows(0.12, 0.3, -0.2)),
            Measurement(held | {"is_stationary": False}, rows(0.5, 0.3, -0.2)),
            Measurement(by_step, rows(0.3, 0.3)),
            Measurement(place | {"study": "floor", "sampler": "exact"}, rows(0.02, 0.1)),
        ],
        **options,
    )


def test_critics_that_were_measured_beside_it_enter_the_table_of_exactness(tmp_path):
    exactness_record(tmp_path / "exactness")
    record = sampler_records.record_of(tmp_path / "exactness", "exactness")
    alone = exactness.with_critics(record)
    assert alone.equals(exactness.exactness_table(record))
    place = {"landscape": "critic of lql on Point-v0", "dimension": 1, "distance": None}
    place |= {"scale": 1.0, "temperature_factor": 1.0, "boundary": "clip", "chains": 10}
    rows = [{"energy_distance": 0.2 + 0.01 * k} for k in range(6)]
    floor = [{"energy_distance": 0.1 + 0.01 * k} for k in range(6)]
    own = Measurement(place | {"study": "main", "sampler": "plain", "steps": 20}, rows)
    exact = Measurement(place | {"study": "floor", "sampler": "exact"}, floor)
    left_out = Measurement(place | {"study": "left out", "sampler": "exact", "r_hat": 2.0}, [])
    path = planted(tmp_path / "critics", "exactness", [own, exact, left_out])
    added = exactness.with_critics(record).iloc[len(alone) :]
    assert added["landscape"].tolist() == ["critic of lql on Point-v0"]
    assert added["steps"].item() == 20 and isinstance(added["steps"].item(), int)
    assert added["value"].item() == pytest.approx(0.225 / 0.125)
    assert added["record"].item() == path.as_posix() != alone["record"].iloc[0]


def test_exactness_is_told_above_its_floor(tmp_path):
    exactness_record(tmp_path)
    table = exactness.exactness_table(sampler_records.record_of(tmp_path, "exactness"))
    main = table[(table["steps"] == 20) & (table["study"] == "main")].set_index("quantity")
    variation = main.loc["total_variation_above_floor"]
    assert variation["value"] == pytest.approx(0.1) and variation["floor"] == pytest.approx(0.02)
    assert variation["low"] < 0.1 < variation["high"] and variation["repeats"] == 6
    assert main.loc["energy_distance_to_floor", "value"] == pytest.approx(3)
    assert main.loc["mode_weight_error", "value"] == pytest.approx(-0.2)
    # One row a claim: other studies have other quantities.
    assert (table["quantity"] == "total_variation_above_floor").sum() == 2
    assert "total_variation_above_floor_by_step_size" in set(table["quantity"])
    held = table[table["steps"] == "stationary"]
    assert held[["low", "high"]].isna().all(axis=None), "no interval of chains that have not mixed"
    assert held["value"].notna().all()


def test_the_jackknife_of_a_mean_is_students_interval():
    """Of the mean of pooled draws, leaving repeats out gives the usual standard error."""
    x = np.random.default_rng(0).standard_normal(8)
    others = [np.delete(x, k).mean() for k in range(8)]
    found = sampler_records.above_floor(others, [0.0] * 8)
    expected = sampler_records.mean_interval(x)
    assert found == pytest.approx(expected)
    naive = sampler_records.mean_interval(others)
    assert naive.high - naive.low < 0.5 * (found.high - found.low)


def mixing_record(folder: Path, **options) -> Path:
    """Crossings that are known: the plain chain's grow as d, the annealed one's not at all; in 200
    dimensions the plain one never gets there."""
    measurements, budgets = [], [10 * 2**k for k in range(9)]
    rng = np.random.default_rng(0)
    for sampler in ("plain", "annealed_soft"):
        for dimension in (25, 100, 200):
            factor = dimension if sampler == "plain" else 25
            spread = np.exp(0.05 * rng.standard_normal(6))
            for budget in budgets:
                # Linear in the logarithm of the budget, so that neighbours' mean is the middle.
                case = {"sampler": sampler, "landscape": "mixture", "dimension": dimension}
                case |= {"distance": 0.5, "evaluations": budget, "step_size": 1e-3}
                case |= {"threshold": 0.1, "chains": 64, "budget": 2560}
                error = [-0.1 + 0.05 * math.log2(budget / (6 * factor * s)) for s in spread]
                if sampler == "plain" and dimension == 200:
                    error = [-0.3] * 6
                # Past the crossing it stays there.
                rows = [{"mode_weight_error": min(e, -0.02)} for e in error]
                measurements.append(Measurement(case, rows))
    return planted(folder, "mixing", measurements, **options)


def test_mixing_counts_what_never_gets_there(tmp_path):
    mixing_record(tmp_path)
    table = mixing.mixing_table(sampler_records.record_of(tmp_path, "mixing"))
    single = table[table["quantity"] == "evaluations"].set_index(["sampler", "dimension"])
    assert single.loc[("plain", 100), "value"] == pytest.approx(600, rel=0.1)
    assert single.loc[("annealed_soft", 200), "value"] == pytest.approx(150, rel=0.1)
    never = single.loc[("plain", 200)]
    assert never["censored"] == 6 and never["value"] == 2560
    ratio = table[table["quantity"] == "evaluations_ratio"].set_index("dimension")
    assert set(ratio["comparator"]) == {"plain"}
    assert ratio.loc[100, "value"] == pytest.approx(0.25, rel=0.1)
    assert ratio.loc[100, "low"] < ratio.loc[100, "value"] < ratio.loc[100, "high"] < 1
    assert ratio.loc[200, "comparator_censored"] == 6
    beyond = table[table["quantity"] == "growth_exponent_beyond_100"].set_index("sampler")
    assert beyond.loc["plain", ["censored", "repeats"]].tolist() == [6, 12]
    assert beyond.loc["annealed_soft", "value"] == pytest.approx(0, abs=0.1)
    assert beyond.loc["annealed_soft", "low"] < 0 < beyond.loc["annealed_soft", "high"]


def test_the_interval_of_a_count_stays_above_zero():
    counts = np.array([12.0, 15.0, 20.0, 30.0, 2560.0])
    found = mixing.positive_mean(counts)
    assert sampler_records.mean_interval(counts).low < 0 < found.low < found.value < found.high
    # Where little varies, the two agree.
    close = np.array([100.0, 101.0, 99.0, 100.5, 99.5])
    assert mixing.positive_mean(close) == pytest.approx(
        sampler_records.mean_interval(close), rel=1e-3
    )


def test_what_the_budget_alone_made_has_no_exponent(tmp_path):
    """Repeats that never got there count as the budget, which looks like growth of exponent 0."""
    mixing_record(tmp_path)
    found = mixing.arms(sampler_records.record_of(tmp_path, "mixing"))
    for key, arm in found.items():
        if key[0] == "plain":
            arm.censored = len(arm.evaluations)
    slopes = pd.DataFrame(mixing.growth(found)).set_index(["quantity", "sampler"])["value"]
    assert slopes.xs("plain", level="sampler").isna().all()
    assert slopes.xs("annealed_soft", level="sampler").notna().all()


def test_an_exponent_is_the_slope_of_logarithms():
    repeats = np.array([0.9, 1.0, 1.1, 1.0, 1.0])
    found = mixing.exponent({d: d**1.5 * repeats for d in (10, 100, 1000)})
    assert found.value == pytest.approx(1.5) and found.low < 1.5 < found.high
    assert math.isnan(mixing.exponent({d: np.full(5, d) for d in (10, 100)}).low)


@pytest.mark.parametrize(
    ("program", "plant", "name"),
    [
        (exactness, exactness_record, "t.csv"),
        (mixing, mixing_record, "t.csv"),
        (sampler_exactness, exactness_record, "f.svg"),
        (mixing_figure, mixing_record, "f.svg"),
    ],
)
def test_the_command_lines_leave_the_same_bytes_twice(tmp_path, program, plant, name):
    plant(tmp_path / "records")
    arguments = ["--records", str(tmp_path / "records"), "--output", str(tmp_path / name)]
    found = []
    for _ in range(2):
        assert program.main(arguments) == 0
        found.append((tmp_path / name).read_bytes())
    assert found[0] == found[1] and len(found[0]) > 500


def test_records_that_cannot_be_used_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert mixing.main([]) == 2 and "analysis.probes.mixing" in capsys.readouterr().err
    folder = sampler_records.RECORDS / "mixing"
    path = mixing_record(folder, scale="smoke")
    assert mixing.main([]) == 2 and "smoke" in capsys.readouterr().err
    path = mixing_record(folder)
    assert mixing.main([]) == 0
    path.write_text(path.read_text().replace("-0.3", "-0.1", 1))
    with pytest.raises(ProbeRecordError, match="not those"):
        quantities.read(path)
    path.with_name("other.csv").write_text("")
    with pytest.raises(ProbeRecordError, match="several"):
        sampler_records.record_of(folder, "mixing")
    with pytest.raises(ValueError, match="no measurement"):
        measured = Measurement({}, [{"mode_weight_error": math.nan}])
        quantities.write(tmp_path, {}, [measured], ("mode_weight_error",), "x")


def test_records_at_hand_are_of_the_probes_as_they_are():
    """Sizes, step sizes and thresholds: tables and texts speak of those that the code has."""
    for probe in (exactness_probe, mixing_probe):
        name = probe.__name__.rpartition(".")[2]
        files = sorted((repository.ROOT / "results/probes" / name).glob("*.json"))
        for file in files:
            present = json.loads(json.dumps(probe.configuration("desk")))
            assert json.loads(file.read_text())["configuration"] == present, file.name
        assert files


def test_held_chains_have_fine_steps_only_unless_their_drift_knows_no_curvature(monkeypatch):
    # Among the landscapes in one dimension this alone is too steep for an annealed chain's steps.
    cell = exactness_probe.Cell(Place("rugged", 1), exactness_probe.SMOKE)
    held, tried = cell.held, {}

    def noted(sampler, chains, step_sizes, streams):
        tried.setdefault(sampler.name, []).extend(step_sizes)
        return held(sampler, chains, step_sizes, streams)

    monkeypatch.setattr(cell, "held", noted)
    found = {name: cell.stationary(name) for name in ("plain", "annealed_mean", "authors")}
    for name in ("plain", "annealed_mean"):
        *pilots, chosen = tried[name]
        assert max(pilots) * cell.landscape.curvature <= 1
        assert len(pilots) < len(step_sizes_of(name)) and chosen in pilots
    *pilots, chosen = tried["authors"]
    assert pilots == list(step_sizes_of("authors")) and chosen in pilots
    assert all(tried[name][-1] == found[name].case["step_size"] for name in found)


def test_a_sampler_is_tuned_to_the_step_size_of_the_least_criterion(monkeypatch):
    cell = exactness_probe.Cell(Place("ring", 1), exactness_probe.SMOKE)
    run, drawn_at = cell.run, []

    def noted(sampler, evaluations, step_sizes, *purpose):
        drawn_at.extend(step_sizes)
        return run(sampler, evaluations, step_sizes, *purpose)

    sizes = step_sizes_of("plain")
    scores = iter(0.1 * np.abs(np.arange(len(sizes)) - 3))  # a valley, not in the middle
    monkeypatch.setattr(cell, "run", noted)
    monkeypatch.setattr(cell, "criterion", lambda draws, factor: next(scores))
    found = cell.tuned("main", "plain", Target(cell.landscape), 20)
    assert next(scores, None) is None
    assert [found.case["step_size"]] == drawn_at == [sizes[3]]


@pytest.mark.parametrize(("mixed", "best"), [("all", 3), ("none", 3), ("some", 5)])
def test_a_held_chain_has_the_best_step_size_of_those_that_mix_or_of_all_where_none_does(
    monkeypatch, mixed, best
):
    cell = exactness_probe.Cell(Place("ring", 1), exactness_probe.SMOKE)
    sizes = fine_step_sizes_of("plain", cell.landscape)
    mixing_ones = {"all": sizes, "none": (), "some": sizes[5:]}[mixed]

    def held(sampler, chains, step_sizes, streams):
        r_hats = [1.0 if size in mixing_ones else 1.5 for size in step_sizes]
        return torch.zeros(len(step_sizes), chains, 1), r_hats

    scores = iter(0.1 * np.abs(np.arange(len(sizes)) - 3))
    monkeypatch.setattr(cell, "held", held)
    monkeypatch.setattr(cell, "criterion", lambda draws, factor: next(scores))
    case = cell.stationary("plain").case
    assert next(scores, None) is None and case["step_size"] == sizes[best]
    assert case["is_stationary"] == (mixed != "none") and case["r_hat"] in (1.0, 1.5)


def test_the_total_variation_of_others_is_of_all_repeats_but_one():
    cell = exactness_probe.Cell(Place("ring", 1), exactness_probe.SMOKE)
    drawn = cell.landscape.draw(cell.sizes.repeats * cell.chains, np.random.default_rng(0))
    drawn = drawn.astype(np.float32)  # as chains are
    rows = cell.quantities(torch.from_numpy(drawn), 1.0, "draws")
    cells = distances.cell_probabilities(cell.landscape)
    repeats = np.arange(len(drawn)) // cell.chains
    assert len(rows) == cell.sizes.repeats == repeats[-1] + 1
    for number, row in enumerate(rows):
        own, others = (
            distances.total_variation(drawn[is_of], cells)
            for is_of in (repeats == number, repeats != number)
        )
        assert row["total_variation"] == pytest.approx(own)
        assert row["total_variation_of_others"] == pytest.approx(others)
        assert others < 0.8 * own, "four times as many draws are nearer"


def test_a_place_is_measured_the_same_twice_and_derives(tmp_path, monkeypatch):
    sizes = exactness_probe.SMOKE._replace(dimensions=(1,), budgets=(20,), low_chains=40)
    monkeypatch.setitem(exactness_probe.SIZES, "smoke", sizes)
    place = Place("ring", 1)
    measured = [exactness_probe.measure_place(place, "smoke") for _ in range(2)]
    assert [m.repeats for m in measured[0]] == [m.repeats for m in measured[1]]
    planted(tmp_path, "exactness", measured[0], "smoke")
    table = exactness.exactness_table(sampler_records.record_of(tmp_path, "exactness"))
    assert set(table["sampler"]) == set(exactness_probe.SAMPLERS)
    assert set(table["steps"].map(str)) == {"20", "stationary"}
    assert table["value"].notna().all()


def test_tables_have_the_columns_that_claims_read():
    import yaml

    root = Path(sampler_records.__file__).parent.parent
    declared = yaml.safe_load((root / "paper/claims.yaml").read_text())["evidence"]
    assert set(declared["sampler_exactness.csv"]["columns"]) <= set(exactness.COLUMNS)
    assert set(declared["mixing.csv"]["columns"]) <= set(mixing.COLUMNS)
