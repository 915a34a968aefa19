"""Tables from planted run records: every number led back to the returns that were planted."""

import io
import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import planted
import pytest
from planted import curve, plant, read
from scipy import stats

from analysis import comparisons, reference, scores, tables
from analysis.records import RecordError

ROOT = Path(__file__).resolve().parents[1]
TABLE1 = "algorithm,env,mean,low,high,minimum,maximum,best,seeds,transitions,updates,claimed"
HOPPER, CHEETAH = "Hopper-v4", "HalfCheetah-v4"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A working folder with the committed floors and reference scores, and no record."""
    for file in (reference.FLOORS, reference.REFERENCE_SCORES):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def runs(env: str, algorithm: str, finals, first_seed: int = 0) -> dict:
    """Planted curves that end at `finals`, one a seed."""
    return {
        (env, algorithm, first_seed + k): curve(final, untrained=10.0)
        for k, final in enumerate(finals)
    }


def read_csv(content: bytes) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(content), keep_default_na=False, na_values=[""])


def derived(plan: dict, missing: str = "refuse") -> dict[str, pd.DataFrame]:
    """Every table by name, as a reader of the CSV sees it."""
    found = tables.derive(plan, read(plan, missing))
    return {name: read_csv(text) for name, text in found.items() if name.endswith(".csv")}


def row(table: pd.DataFrame, **key) -> pd.Series:
    """The only row with these values; an empty string stands for an empty cell."""
    for name, value in key.items():
        table = table[table[name].isna() if value == "" else table[name] == value]
    assert len(table) == 1
    return table.iloc[0]


# Table 1 ---------------------------------------------------------------------------------------


def test_table1_is_over_seeds_and_not_over_episodes(folder):
    finals = [1000.0, 1100.0, 1300.0, 900.0, 1200.0]
    found = derived(plant(runs(HOPPER, "nc_lql", finals)))["table1.csv"]
    assert ",".join(found).startswith(TABLE1)
    line = row(found, algorithm="nc_lql", env=HOPPER)
    half = stats.t.ppf(0.975, 4) * np.std(finals, ddof=1) / math.sqrt(5)
    assert line["mean"] == pytest.approx(1100)
    assert [line["low"], line["high"]] == pytest.approx([1100 - half, 1100 + half])
    assert [line["minimum"], line["maximum"], line["best"]] == [900, 1300, 1100]
    assert [line["seeds"], line["transitions"], line["updates"]] == [5, 10_000, 2_000]
    assert [line["claimed"], line["claimed_env_version"], line["env_version"]] == [3560, "v2", "v4"]
    # Episodes as the unit would halve the interval for the same five runs.
    wrong = stats.t.ppf(0.975, 9) * np.std(np.repeat(finals, 2), ddof=1) / math.sqrt(10)
    assert wrong < 0.65 * half


def test_best_evaluation_stands_beside_the_final_one(folder):
    peak = [0.0, *[50.0] * 4, 900.0, *[50.0] * 4, 100.0]
    line = derived(plant({(HOPPER, "ppo", 0): peak}))["table1.csv"].iloc[0]
    assert [line["mean"], line["best"], line["untrained"]] == [100, 900, 0]
    # An untrained policy that stands still may return more than it ever does again.
    line = derived(plant({(HOPPER, "ppo", 0): [950.0, *peak[1:]]}))["table1.csv"].iloc[0]
    assert [line["best"], line["untrained"]] == [900, 950]


def test_fewer_than_five_seeds_leave_low_and_high_empty(folder):
    line = derived(plant(runs(HOPPER, "ppo", [100, 200, 300, 400])))["table1.csv"].iloc[0]
    assert math.isnan(line["low"]) and math.isnan(line["high"])
    assert [line["minimum"], line["maximum"], line["seeds"]] == [100, 400, 4]


def test_learned_is_above_random_zero_and_the_untrained_self(folder):
    # Zero actions return 145 in Hopper and random ones 19; the curves begin at 10.
    finals = [100.0, 150.0, 1000.0]
    returns = runs(HOPPER, "lql", finals) | {(HOPPER, "lql", 3): curve(500, untrained=600.0)}
    line = derived(plant(returns))["table1.csv"].iloc[0]
    assert line["learned"] == 2
    assert sum(final > line["random"] for final in [*finals, 500]) == 4  # Random alone is too easy.


def test_a_run_that_diverged_stays_and_scores_no_more_than_untrained(folder):
    returns = runs(HOPPER, "nc_lql", [1000.0] * 4) | {(HOPPER, "nc_lql", 4): [10.0, 900.0, 2000.0]}
    found = derived(plant(returns, diverged=[(HOPPER, "nc_lql", 4)]))
    line = found["table1.csv"].iloc[0]
    assert [line["seeds"], line["diverged"], line["minimum"]] == [5, 1, 10]
    assert line["mean"] == pytest.approx((4 * 1000 + 10) / 5)  # 1000 without it, 1200 at its last.
    assert line["note"] == "seed 4 diverged at 2,000 transitions"
    assert line["transitions"] == 10_000
    run = row(found["final_scores.csv"], seed=4)
    assert [run["status"], run["final"], run["best"]] == ["diverged", 10, 2000]


def test_a_run_without_any_evaluation_empties_its_cell(folder):
    returns = runs(HOPPER, "lql", [1000.0] * 4) | {(HOPPER, "lql", 4): [math.nan]}
    line = derived(plant(returns, diverged=[(HOPPER, "lql", 4)]))["table1.csv"].iloc[0]
    assert math.isnan(line["mean"]) and math.isnan(line["minimum"]) and line["seeds"] == 5
    assert "seed 4 diverged at 0 transitions, before any evaluation: no score" in line["note"]


def test_absent_runs_are_named_gaps_or_refused(folder, capsys):
    returns = runs(HOPPER, "nc_lql", [1000.0, 1100.0])
    gaps = [(HOPPER, "nc_lql", 2), (HOPPER, "ppo", 0), (HOPPER, "ppo", 1), (HOPPER, "ppo", 2)]
    plan = plant(returns, gaps=gaps)
    found = derived(plan, missing="gap")["table1.csv"]
    partial, empty = row(found, algorithm="nc_lql"), row(found, algorithm="ppo")
    assert [partial["seeds"], partial["planned_seeds"]] == [2, 3]
    assert partial["note"] == "gap: no record of seed 2"
    assert empty["note"] == "gap: no record of seeds 0, 1, 2"
    assert empty["seeds"] == 0 and empty["claimed"] == 2800
    assert empty[["mean", "minimum", "best", "transitions", "updates"]].isna().all()
    assert tables.main(["--scale", "desk"]) == 2
    told = capsys.readouterr().err
    assert "Hopper-v4/nc_lql/seed2" in told and told.count("\n") == 1
    assert not Path("results/table1.csv").exists()


def test_two_versions_of_the_environments_never_share_a_table(folder):
    plan = plant(runs(HOPPER, "ppo", [100.0]) | runs("Ant-v5", "ppo", [100.0]))
    with pytest.raises(RecordError, match="Hopper-v4 and Ant-v5"):
        derived(plan)
    derived(plant(runs(HOPPER, "ppo", [100.0]) | runs("Pendulum-v1", "ppo", [-200.0])))


def test_markdown_has_the_budget_and_the_words(folder):
    returns = runs(HOPPER, "nc_lql", [1000.0]) | runs(CHEETAH, "nc_lql", [-50.0])
    plan = plant(returns, gaps=[(CHEETAH, "nc_lql", 1), (HOPPER, "nc_lql", 1)])
    text = tables.derive(plan, read(plan, "gap"))["table1.md"].decode()
    assert "10,000 environment transitions a run" in text
    cells = "| nc_lql | 1,000 | no interval | 1,000 to 1,000 | 1,000 | 3,560 (v2) | 1 of 1 | 1 of 2"
    assert f"{cells} | 10,000 | 2,000 | 4,000 | gap: no record of seed 1 |" in text
    assert "Random actions return −278, zero actions 0." in text
    assert "candidate actions" not in text, "a draw of each policy"
    plan["hyperparameters"]["nc_lql"] += [
        {"name": "candidates", "value": 50, "description": "", "source": ""},
        {"name": "evaluation_candidates", "value": None, "description": "", "source": ""},
    ]
    told = "Evaluated by one of so many candidate actions, chosen by Q: nc_lql (50)."
    assert told in tables.derive(plan, read(plan, "gap"))["table1.md"].decode()


# Over environments -----------------------------------------------------------------------------


def test_normalised_scores_are_fixed_by_random_policy_and_published_sac(folder):
    scale = reference.normalisation(HOPPER)
    floors = reference.floors(HOPPER)
    assert (scale.zero, scale.one) == (floors.random, 2787)
    assert scale(floors.random) == 0 and scale(2787.0) == 1
    assert reference.normalisation("Humanoid-v4") == "no published SAC score"
    assert reference.normalisation("Hopper-v5") == "no published SAC score"  # Of v4 only.


def test_aggregates_name_what_they_leave_out(folder):
    environments = [HOPPER, "Walker2d-v4", CHEETAH, "Ant-v4"]
    returns = {}
    for env in environments:
        one = reference.normalisation(env).one
        returns |= runs(env, "sac", [one] * 4 + [reference.floors(env).random])
    returns |= runs("Swimmer-v4", "sac", [30.0] * 5)
    found = row(derived(plant(returns))["aggregate.csv"], aggregate="mean")
    assert found["value"] == pytest.approx(0.8) and found["low"] < 0.8 < found["high"]
    assert found["over"] == " ".join(environments)
    assert found["left_out"] == "Swimmer-v4: no published SAC score"
    assert [found["seeds"], found["environments"], found["enters_verdicts"]] == [5, 4, "yes"]


def test_what_is_not_validated_enters_no_pool(folder):
    """Neither the aggregates nor the ratio of transitions over all environments."""
    speeds = {HOPPER: (100, 50), "Ant-v4": (100, 400)}
    returns = {
        (env, algorithm, seed): linear(speed * (1 + 0.01 * seed))
        for env, both in speeds.items()
        for algorithm, speed in zip(("nc_lql", "ppo"), both, strict=True)
        for seed in range(5)
    }
    plan = plant(returns, thresholds={HOPPER: [200], "Ant-v4": [200]})
    plan["scales"]["desk"]["unvalidated"] = {"Ant-v4": "another MuJoCo"}
    found = derived(plan)
    pooled = row(found["sample_efficiency.csv"], env="all", algorithm="nc_lql")
    single = row(found["sample_efficiency.csv"], env=HOPPER, algorithm="nc_lql", comparator="ppo")
    assert pooled["ratio"] == pytest.approx(single["ratio"]) and pooled["ratio"] < 0.7
    assert pooled["note"] == "Ant-v4: left out, not validated" and pooled["cells"] == 5
    aggregate = row(found["aggregate.csv"], algorithm="ppo", aggregate="mean")
    assert [aggregate["over"], aggregate["left_out"]] == [HOPPER, "Ant-v4: not validated"]


def test_an_algorithm_without_an_environment_has_no_aggregate(folder):
    returns = runs(HOPPER, "ppo", [900.0, 800.0]) | runs(HOPPER, "lql", [900.0, 800.0])
    returns |= runs(CHEETAH, "lql", [2000.0])
    gaps = [(CHEETAH, "ppo", 0), (CHEETAH, "ppo", 1), (CHEETAH, "lql", 1)]
    found = derived(plant(returns, gaps=gaps), "gap")["aggregate.csv"]
    absent = row(found, algorithm="ppo", aggregate="iqm")
    assert math.isnan(absent["value"]) and absent["note"] == f"gap: no record in {CHEETAH}"
    partial = row(found, algorithm="lql", aggregate="iqm")
    assert partial["seeds"] == 1 and math.isnan(partial["low"])
    assert partial["note"].startswith("of seed 0 only; HalfCheetah-v4: gap: no record of seed 1")
    assert set(found["enters_verdicts"]) == {"no"}


def test_missing_floors_are_refused_by_name(folder):
    plan = plant(runs(HOPPER, "ppo", [100.0]))
    floors = pd.read_csv(reference.FLOORS)
    floors[floors["env"] != HOPPER].to_csv(reference.FLOORS, index=False)
    with pytest.raises(RecordError, match="analysis.probes.floors --environments Hopper-v4"):
        derived(plan)
    Path(reference.FLOORS).unlink()
    with pytest.raises(RecordError, match="floors.csv: missing"):
        derived(plan)


# Comparisons -----------------------------------------------------------------------------------


def test_comparison_by_hand(folder):
    x, y = [1000.0, 1100, 1300, 900, 1200], [800.0, 850, 700, 900, 750]
    returns = runs(HOPPER, "nc_lql", x) | runs(HOPPER, "lql", y)
    returns |= runs(CHEETAH, "nc_lql", x) | runs(CHEETAH, "lql", x[::-1])
    found = derived(plant(returns))["comparisons.csv"]
    line = row(found, algorithm="nc_lql", comparator="lql", env=HOPPER)
    expected = stats.ttest_ind(x, y, equal_var=False)
    interval = expected.confidence_interval()
    assert line["difference"] == pytest.approx(300)
    assert [line["low"], line["high"]] == pytest.approx([interval.low, interval.high])
    assert line["p_holm"] == pytest.approx(2 * expected.pvalue)
    random = reference.floors(HOPPER).random
    assert line["margin"] == pytest.approx(0.05 * (800 - random), rel=1e-6)
    assert line["surplus"] == pytest.approx(300 + line["margin"])
    back = row(found, algorithm="lql", comparator="nc_lql", env=HOPPER)
    assert back["difference"] == -300 and back["detectable"] == line["detectable"]


# Sample efficiency -----------------------------------------------------------------------------


def linear(slope: float) -> list[float]:
    """Return rising by `slope` each evaluation, ten of them."""
    return [slope * k for k in range(11)]


def test_restricted_means_and_censoring_by_hand(folder):
    # Reach 300 at 3,000, 6,000 and never, of 10,000.
    returns = {
        (HOPPER, "lql", 0): linear(100),
        (HOPPER, "lql", 1): linear(50),
        (HOPPER, "lql", 2): linear(1),
    }
    found = derived(plant(returns, thresholds={HOPPER: [300]}))["sample_efficiency.csv"]
    line = row(found, algorithm="lql", comparator="", env=HOPPER)
    assert line["restricted_mean"] == pytest.approx((3000 + 6000 + 10_000) / 3)
    assert [line["censored"], line["cells"], line["seeds"]] == [1, 3, 3]
    assert [line["minimum"], line["maximum"], line["transitions"]] == [3000, 10_000, 10_000]
    # Dropping the censored run would make a slow method look fast.
    assert (3000 + 6000) / 2 < line["restricted_mean"]


def test_ratio_to_a_slower_comparator_can_be_read(folder):
    generator = np.random.default_rng(0)
    returns = {}
    for env in (HOPPER, CHEETAH):
        for seed in range(5):
            speed = generator.uniform(0.9, 1.1)
            returns[env, "nc_lql", seed] = linear(100 * speed)
            returns[env, "diffusion_ql", seed] = linear(60 * generator.uniform(0.9, 1.1))
    plan = plant(returns, thresholds={HOPPER: [200, 300], CHEETAH: [250]})
    found = derived(plan)["sample_efficiency.csv"]
    pair = found[(found["algorithm"] == "nc_lql") & (found["comparator"] == "diffusion_ql")]
    pooled = row(pair, env="all")
    assert pooled["ratio"] == pytest.approx(0.6, abs=0.05)
    assert pooled["ratio_low"] < 0.6 < pooled["ratio_high"] < 1
    assert [pooled["cells"], pooled["censored"], pooled["comparator_cells"]] == [15, 0, 15]
    single = pair[pair["env"] != "all"]
    assert pooled["ratio"] == pytest.approx(np.exp(np.log(single["ratio"]).mean()))
    line = row(single, env=CHEETAH)
    assert line["ratio"] == pytest.approx(
        line["restricted_mean"] / line["comparator_restricted_mean"]
    )


def test_a_run_that_diverged_is_censored_unless_it_crossed_before(folder):
    returns = {
        (HOPPER, "lql", 0): linear(100)[:6],
        (HOPPER, "lql", 1): [0.0, 10.0, 20.0],
        (HOPPER, "lql", 2): linear(100),
    }
    plan = plant(
        returns, diverged=[(HOPPER, "lql", 0), (HOPPER, "lql", 1)], thresholds={HOPPER: [300]}
    )
    crossed = comparisons.crossings(read(plan))
    assert crossed["crossed"].tolist() == pytest.approx([3000, math.inf, 3000])
    assert crossed["restricted"].tolist() == pytest.approx([3000, 10_000, 3000])


# The program -----------------------------------------------------------------------------------


def test_two_runs_give_the_same_bytes(folder):
    generator = np.random.default_rng(1)
    returns = {}
    for env in (HOPPER, "Walker2d-v4", CHEETAH, "Ant-v4"):
        for algorithm in ("lql", "nc_lql"):
            returns |= runs(env, algorithm, generator.normal(1000, 200, 5))
    plant(returns, thresholds={HOPPER: [300]})

    def derive() -> dict[str, bytes]:
        assert tables.main([]) == 0
        return {file.name: file.read_bytes() for file in Path("results").glob("*.*")}

    first = derive()
    assert {"table1.csv", "table1.md", "aggregate.csv", "sample_efficiency.csv"} < set(first)
    assert derive() == first


def test_another_scale_stands_in_its_own_folder(folder):
    plant(runs(HOPPER, "ppo", [100.0]), folder="results/smoke", scale="smoke")
    assert tables.main(["--scale", "smoke"]) == 0
    assert Path("results/smoke/table1.csv").exists() and not Path("results/table1.csv").exists()
    assert tables.main(["--scale", "none"]) == 2


def test_hyperparameters_have_their_sources(folder):
    found = derived(plant(runs(HOPPER, "ppo", [100.0])))["hyperparameters.csv"]
    assert list(found) == ["algorithm", "name", "value", "description", "source"]
    assert found.iloc[0].tolist() == ["ppo", "discount", 0.99, "Of rewards.", "digest"]


# Floors and claims that are committed ----------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "random", "zero"),
    [(HOPPER, 20, 145), ("Walker2d-v4", 3, 93), (CHEETAH, -278, -0.2), ("Ant-v4", -50, 1000)],
)
def test_committed_floors_are_of_a_hundred_episodes(env, random, zero, monkeypatch):
    monkeypatch.chdir(ROOT)
    found = reference.floors(env)
    assert found.episodes == 100
    assert found.random == pytest.approx(random, abs=15) and found.zero == pytest.approx(
        zero, abs=3
    )


def test_committed_floors_can_be_measured_again(monkeypatch):
    floors = pytest.importorskip("analysis.probes.floors")
    monkeypatch.chdir(ROOT)
    again = floors.measure(HOPPER, episodes=3)
    committed = pd.read_csv(reference.FLOORS).query("env == @HOPPER and episode < 3")
    assert again["length"].tolist() == committed["length"].tolist()
    assert again["return"].to_numpy() == pytest.approx(committed["return"].to_numpy(), rel=1e-6)


def test_floors_cover_the_protocol(monkeypatch):
    from analysis.probes.floors import protocol_environments

    monkeypatch.chdir(ROOT)
    absent = [env for env in protocol_environments() if reference.floors(env) is None]
    assert absent == []


def test_claims_are_the_digests_twelve_returns(monkeypatch):
    monkeypatch.chdir(ROOT)
    table = reference.reference_scores()
    assert (table["use"] == "claimed").sum() == 12 and table["source"].notna().all()
    assert reference.claim("nc_lql", "Ant-v4").value == 5900
    assert reference.claim("diffusion_ql_no_cloning", "Ant-v4") is None
    assert reference.claim("lql", "Ant-v4") is None


def test_planted_curves_end_where_they_say():
    assert planted.curve(100.0, 20.0)[-1] == 100 and planted.curve(100.0, 20.0)[0] == 20
    assert scores.name_seeds([3]) == "seed 3"
