"""The paper on planted records: its numbers are those of the results, and it says what lacks."""

import io
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from audited import ENVIRONMENTS, HOPPER, ROOT, derive, furnish, runs
from cost_records import plant_costs
from planted import plant
from pypdf import PdfReader
from repository import copy

from algorithms import ALGORITHMS
from analysis import claims, compute, paper, reference
from analysis.artefacts import paper_of
from analysis.derived import csv_bytes
from analysis.records import RecordError


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A working folder with the paper's source, and no record."""
    furnish(tmp_path)
    copy(("paper/paper.typ", "paper/parts", "paper/captions", "paper/sources.csv"), tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def furnished(returns: dict, missing: str = "refuse", gaps=()) -> None:
    """Records, their tables and the verdicts on them."""
    thresholds = {env: [500] for env in ENVIRONMENTS}
    derive(plant(returns, gaps=gaps, thresholds=thresholds), missing)
    assert claims.main(["--missing", missing]) == 0


def five_seeds() -> dict:
    returns = {}
    for algorithm in ALGORITHMS:
        mean = {"nc_lql": 2345, "ppo": 1234}.get(algorithm, 1000)
        returns |= runs(algorithm, mean, 50, environments=ENVIRONMENTS[:2])
    return returns


def text(content: bytes | None = None) -> str:
    """Of all pages, every run of white space one blank."""
    content = paper.build(Path("results")) if content is None else content
    pages = PdfReader(io.BytesIO(content)).pages
    return re.sub(r"\s+", " ", " ".join(page.extract_text() for page in pages))


def test_a_changed_result_is_a_changed_number_in_the_paper(folder):
    furnished(five_seeds())
    before = text()
    assert "2,345" in before and "2,678" not in before
    file = Path("results/table1.csv")
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    row = (table["algorithm"] == "nc_lql") & (table["env"] == HOPPER)
    table.loc[row, "mean"] = "2677.6"
    table.to_csv(file, index=False)
    assert "2,678" in text()


@pytest.mark.parametrize(
    ("name", "column", "value", "shown"),
    [
        ("claims.csv", "reason", "planted reason", "planted reason"),
        ("sample_efficiency.csv", "restricted_mean", "4321", "4,321"),
        ("hyperparameters.csv", "value", "0.123", "0.123"),
        ("provenance.csv", "processor", "Planted Processor", "Planted Processor"),
    ],
)
def test_each_table_is_read(folder, name, column, value, shown):
    furnished(five_seeds())
    file = Path("results", name)
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    table[column] = value
    if name == "hyperparameters.csv":
        table["algorithm"], table["name"] = "nc_lql", "largest_noise"
    table.to_csv(file, index=False)
    assert shown in text()


def test_without_a_record_the_sentences_say_so(folder):
    gaps = [(HOPPER, algorithm, 0) for algorithm in ALGORITHMS if algorithm != "ppo"]
    ppo = runs("ppo", 1000, 5, seeds=1, environments=[HOPPER])
    furnished(ppo, "gap", gaps)
    said = text()
    assert "1 of 5 planned runs are recorded" in said and "no record" in said
    assert "With at most 1 seed there is no interval over seeds" in said
    assert "Time and memory were not measured yet" in said
    assert "The samplers were not measured yet" in said
    full = five_seeds()
    furnished(full)
    said = text()
    assert "a mean of 3 successive evaluations" in said
    assert f"All {len(full)} planned runs are recorded" in said and "no interval" not in said


def test_it_counts_which_chains_weighed_the_modes(folder):
    """Over all dimensions, whatever the number of evaluations that they took."""
    furnished(five_seeds())
    assert "weigh two modes" not in text()
    rows = [
        {"sampler": sampler, "dimension": dimension, "censored": censored}
        for sampler, dimension, censored in (("plain", 2, 3), ("plain", 17, 8), ("authors", 2, 0))
    ]
    common = {"quantity": "evaluations", "landscape": "mixture", "distance": 0.5}
    table = pd.DataFrame(rows).assign(repeats=8, budget=2560, **common)
    ratio = table.assign(quantity="evaluations_ratio", censored=8)
    pd.concat([table, ratio]).to_csv("results/mixing.csv", index=False)
    shown = text()
    assert "2,560 gradient evaluations, in 2 and 17 dimensions" in shown
    assert "5 of 16" in shown and "8 of 8" in shown


def test_it_shows_where_held_chains_are_exact(folder):
    """One that did not become stationary is a dash, however near it happens to be."""
    furnished(five_seeds())
    assert "held until stationary" not in text()
    rows = [
        {"sampler": "plain", "landscape": "ring", "value": 0.31, "is_stationary": True},
        {"sampler": "authors", "landscape": "ring", "value": 0.47, "is_stationary": False},
        {"sampler": "plain", "landscape": "rugged", "value": 0.62, "is_stationary": True},
    ]
    common = {"quantity": "total_variation_above_floor", "study": "main", "steps": "stationary"}
    table = pd.DataFrame(rows).assign(dimension=2, **common)
    short = table.assign(steps="20", value=0.93)
    pd.concat([table, short]).to_csv("results/sampler_exactness.csv", index=False)
    shown = text()
    assert "plain chain 0.31 0.62" in shown and "0.47" not in shown and "0.93" not in shown


def test_it_shows_beyond_how_many_denoising_steps_nc_lql_costs_less(folder):
    furnished(five_seeds())
    assert "Where the balance tips" not in text()
    plant_costs(Path("records"))
    table = compute.compute_table(compute.read_records(Path("records")))
    Path("results/compute.csv").write_bytes(csv_bytes(table, compute.COUNTS))
    found = table[(table["quantity"] == "update_seconds_crossing") & (table["steps"] == 20)]
    (value,) = found[found["algorithm"] == "nc_lql"]["value"]
    # 4 ms a Langevin step against 10 ms and 5 ms a denoising step.
    assert value == pytest.approx(14.0)
    shown = text()
    assert "Where the balance tips" in shown
    assert "an update 2.00 (2.00 to 2.00) 14.0 (14.0 to 14.0)" in shown
    # In 80 steps it costs more than a single candidate at every number of steps measured.
    assert "one candidate 22.7 (22.7 to 22.7) 90.9 (90.9 to 90.9) none" in shown
    plan = Path("results/plan.json")
    made = json.loads(plan.read_text()) | {"artefacts": ["compute.csv"]}
    plan.write_text(json.dumps(made) + "\n")
    assert claims.main(["--missing", "refuse"]) == 0
    assert "(3 of 5: 20, 50, 100)" in text(), "the abstract says for which of them"


def test_it_shows_seconds_to_returns_and_what_never_got_there(folder):
    furnished(five_seeds())
    assert "Seconds to the declared returns" not in text()
    common = {"quantity": "seconds_to_threshold", "machine": "box", "env": HOPPER, "repeats": 5}
    rows = [
        {"algorithm": "nc_lql", "threshold": 500.0, "value": 1234.4, "censored": 0},
        {"algorithm": "ppo", "threshold": 500.0, "value": 77.0, "censored": 5},
        {"algorithm": "ppo", "threshold": 900.0, "value": 78.0, "censored": 4},
    ]
    pd.DataFrame([common | row for row in rows]).to_csv("results/compute.csv", index=False)
    shown = text()
    assert f"{HOPPER} 500 1,234 not in 77" in shown and f"{HOPPER} 900 – 78" in shown


def test_a_verdict_stands_beside_its_full_id_and_the_cell_that_its_value_is_of(folder):
    """Three rows called 10, or a difference of no environment, could not be looked up."""
    furnished(five_seeds())
    file = Path("results/claims.csv")
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    sensitive = table["claim"].str.startswith("14-")
    table.loc[sensitive, ["verdict", "value", "cell"]] = ["inconclusive", "-55.1", "Pendulum-v1"]
    own = table["claim"].isin(["14-nc_lql-temperature", "14-nc_lql-step_size"])
    table.loc[own, "verdict"] = "supported"
    table.to_csv(file, index=False)
    said = text()
    assert "−55.1 Pendulum-v1" in said
    assert "14-nc_lql-temperature" in said.replace(" ", "")
    # What two rows of NC-LQL show is not said of LQL.
    assert "(2 of 4: NC-LQL temperature, NC-LQL step size)" in said


def test_it_says_who_is_evaluated_by_one_of_several_candidates(folder):
    furnished(five_seeds())
    file = Path("results/hyperparameters.csv")
    table = pd.DataFrame(
        [("diffusion_ql", "candidates", 50), ("nc_lql", "reward_scale", 0.2)],
        columns=["algorithm", "name", "value"],
    )
    sentence = "Evaluated by one of so many candidate actions, chosen by Q"
    table.to_csv(file, index=False)
    assert f"{sentence}: Diffusion-QL (50)." in text()
    table.assign(value=1).to_csv(file, index=False)
    assert sentence not in text()


def test_a_figure_is_in_vector_form(folder):
    furnished(five_seeds())
    assert "Return against environment transitions" not in text()
    size = 'width="70" height="40" xmlns="http://www.w3.org/2000/svg"'
    svg = f'<svg {size}><path d="M10 20 L60 31" stroke="black"/></svg>'
    Path("results/figures/learning_curves.svg").write_text(svg)
    Path("results/figures/a_new_one.svg").write_text(svg)
    content = paper.build(Path("results"))
    assert "Return against environment transitions" in text(content)
    assert "A new one." in text(content)
    kinds = []
    for page in PdfReader(io.BytesIO(content)).pages:
        for found in page["/Resources"].get("/XObject", {}).values():
            kinds.append(found.get_object()["/Subtype"])
    assert set(kinds) <= {"/Form"}


def test_a_figure_of_gaps_alone_is_left_out(folder):
    furnished(five_seeds())
    svg = '<svg width="70" height="40" xmlns="http://www.w3.org/2000/svg"></svg>'
    Path("results/figures/ablation.svg").write_text(svg)
    caption = " ".join((ROOT / "paper/captions/robustness/ablation.rst").read_text().split())[:40]
    for value, is_shown in (("", False), ("12.5", True)):
        rows = f"algorithm,value,note\nnc_lql,{value},\nexact,1,\nlql,,no record\n"
        Path("results/figures/ablation.csv").write_text(rows)
        assert (caption in text()) == is_shown


def test_the_program_writes_the_same_bytes_and_refuses_what_changed(folder, capsys):
    furnished(five_seeds())
    written = []
    for _ in range(2):
        assert paper.main([]) == 0
        written.append(Path("paper/paper.pdf").read_bytes())
    assert written[0] == written[1]
    page = PdfReader(io.BytesIO(written[0])).pages[0].mediabox
    assert [float(page.width), float(page.height)] == pytest.approx([595.28, 841.89], abs=0.1)
    file = Path("results/table1.csv")
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    table.rename(columns={"claimed": "said"}).to_csv(file, index=False)
    assert paper.main([]) == 2
    told = capsys.readouterr().err
    assert "paper.typ" in told and "claimed" in told and told.count("\n") == 1
    file.unlink()
    with pytest.raises(RecordError, match=r"table1\.csv"):
        paper.build(Path("results"))
    assert Path("paper/paper.pdf").read_bytes() == written[0]


def test_every_published_number_has_a_source_that_is_printed(folder):
    sources = pd.read_csv(ROOT / "paper/sources.csv").set_index("source")
    assert sources.index.is_unique and sources.notna().all(axis=None)
    assert sources["url"].str.startswith("https://").all()
    used = reference.reference_scores()["source"].unique()
    assert set(used) == set(sources.index[sources["kind"] == "scores"])
    furnished(five_seeds())
    said = text()
    assert all(source in said for source in sources.index)
    addresses = sources["url"].str.removeprefix("https://")
    assert all(address in said.replace(" ", "") for address in addresses)


def test_where_it_stands():
    assert paper_of("results") == "paper/paper.pdf"
    assert paper_of("results/smoke") == "results/smoke/paper.pdf"


def test_nothing_is_called_the_papers_that_is_not():
    sources = [ROOT / "paper/paper.typ", *sorted((ROOT / "paper/parts").glob("*.typ"))]
    for source in sources:
        assert not re.search(r"paper (says|claims|states|reports)", source.read_text()), source
