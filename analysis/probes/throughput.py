"""Measures what acting, learning and training cost, beside the machine's own matrix products.

    python -m analysis.probes.throughput [--quick] [--algorithms NAME ...] [--device NAME]
                                         [--parts PART ...] [--output DIR]

One thread; parts one after the other, and within a part every case once a round, in an order that
is shuffled anew, after compilation and burn-in:

- `updates`: `learn`, `act` on 5 observations and the chain alone, compiled and eager, in each
  precision; the matrix products that `learn` needs and nothing else; square matrix products, whose
  best size is the machine's limit. At the sizes of HalfCheetah.
- `compilation`: what first calls take in a fresh process, from an empty cache and from a full one.
- `loop`: a desk run's vector step, and in it `act`, the environment, `observe` and `learn`.
- `training`: PPO and SAC in HalfCheetah-v4, beside Stable-Baselines3's (extra `peers`; CPU only).
- `growth`: `learn` by batch, action dimension, steps of the chain and layers; `act` by the number
  of environments.

Leaves `results/probes/throughput/<machine>.csv`, one row a sample, and `<machine>.json`, what they
are of and were measured on: a record, from which `python -m analysis.throughput` derives tables and
figure. --quick takes few samples, to see that it works, and leaves them in build/.
"""

import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from algorithms.files import NotWritten
from analysis.artefacts import PROBES
from analysis.probes import samples as records
from analysis.probes.command import parser_of, prepared_device, shown

FOLDER = PROBES / "throughput"
QUICK_FOLDER = Path("build/probes/throughput")
SEED = 0


class Rounds(NamedTuple):
    """Samples of each case of a part."""

    updates: int
    compilation: int
    loop: int
    training: int
    growth: int


FULL = Rounds(updates=40, compilation=3, loop=20, training=10, growth=10)
QUICK = Rounds(updates=3, compilation=1, loop=2, training=2, growth=2)

GROWTH_OF = ("nc_lql", "diffusion_ql")
"""The comparison of the digest: Langevin steps against denoising steps."""
GROWTH: dict[str, tuple[int, ...]] = {
    "batch": (64, 128, 256, 512, 1024),
    "action": (2, 6, 17, 50, 100),
    "steps": (5, 10, 20, 40, 80),
    "layers": (2, 3, 4, 6, 8),
    "environments": (1, 5, 20, 80, 320),
}
QUICK_GROWTH = {name: values[1:3] for name, values in GROWTH.items()}


class Measured:
    """Samples and cases so far."""

    def __init__(self):
        self.samples: list[records.Sample] = []
        self.cases: dict[str, dict[str, Any]] = {}

    def add(self, samples: Sequence[records.Sample], cases: dict[str, dict[str, Any]]) -> None:
        """Take some in."""
        self.samples += samples
        self.cases |= cases


class Probe:
    """The parts, on one device."""

    def __init__(self, algorithms: Sequence[str], device: Any, is_quick: bool):
        from analysis.probes import subjects, timing

        self.subjects, self.timing = subjects, timing
        self.algorithms, self.device, self.is_quick = algorithms, device, is_quick
        self.rounds = QUICK if is_quick else FULL
        self.measured = Measured()

    def time(self, cases: list, part: str, with_limit: bool = True, **options: Any) -> None:
        """Time cases, the machine's matrix products among them."""
        if with_limit:
            precisions = self.subjects.precisions("nc_lql", self.device)
            cases = cases + self.timing.matrix_product_cases(part, precisions, self.device)
        rounds = getattr(self.rounds, part)
        found = self.timing.measure(cases, rounds, self.device, SEED, **options)
        self.measured.add(found, {case.name: {"group": part} | case.about for case in cases})

    def updates(self) -> None:
        """Every algorithm's calls at the sizes of HalfCheetah."""
        s, cases = self.subjects, []
        for name in self.algorithms:
            for precision in s.precisions(name, self.device):
                settings = s.settings_for(name, precision)
                kinds = (True, False) if precision == "float32" else (True,)
                for is_compiled in kinds:
                    agent = s.make(name, self.device, compile=is_compiled, **settings)
                    cases.append(s.learn_case("updates", agent, name))
                    cases.append(s.act_case("updates", agent, name))
                    if is_compiled and name in s.CHAINS:
                        cases.append(s.chain_case("updates", agent, name))
                if name in s.LEARNING:
                    cases.append(s.products_case("updates", agent, name))
        self.time(cases, "updates")

    def compilation(self) -> None:
        """First calls, in processes of their own."""
        from analysis.probes.first_calls import compilation_samples

        for name in self.algorithms:
            for precision in self.subjects.precisions(name, self.device):
                settings = self.subjects.settings_for(name, precision)
                # Minutes go into compiling: only the method that the bar is set for is repeated.
                rounds = self.rounds.compilation if name == "nc_lql" else 1
                self.measured.add(
                    *compilation_samples("compilation", name, settings, str(self.device), rounds)
                )

    def loop(self) -> None:
        """A desk run of each method with a replay."""
        from algorithms import algorithm
        from analysis.probes.loop_parts import measure

        for name in self.algorithms:
            if algorithm(name).has_warm_up:
                for precision in self.subjects.precisions(name, self.device):
                    settings = self.subjects.settings_for(name, precision)
                    self.measured.add(
                        *measure("loop", name, settings, self.device, self.rounds.loop)
                    )

    def training(self) -> None:
        """Transitions a second of what the peer has too, on a CPU."""
        from analysis.probes.peers import cases

        known = [name for name in ("ppo", "sac") if name in self.algorithms]
        if self.device.type == "cpu":
            self.time(cases(known), "training", with_limit=False, shortest=0)

    def growth(self) -> None:
        """One size at a time from the others' defaults; one agent at a time, for memory."""
        s, cases = self.subjects, []
        sizes = QUICK_GROWTH if self.is_quick else GROWTH
        for name in self.algorithms:
            if name not in GROWTH_OF:
                continue
            for parameter, values in sizes.items():
                for value in values:
                    cases.append(s.growth_case("growth", name, parameter, value, self.device))
        self.time(cases, "growth")


PARTS = ("updates", "compilation", "loop", "training", "growth")


def contents(document: Mapping[str, Any]) -> dict[str, Collection[str]]:
    """What a record is of, by the option that says it."""
    cases = document["cases"].values()
    return {
        "parts": sorted({case["group"] for case in cases}),
        "algorithms": sorted({case["algorithm"] for case in cases if "algorithm" in case}),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = parser_of("throughput", __doc__, PARTS, FOLDER, quick="few samples, in build/")
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    device = prepared_device(options.device)
    if device is None:
        return 2
    # Before anything is measured: somebody may commit meanwhile.
    conditions = records.conditions(shown("throughput", arguments), device)
    folder = options.output or (QUICK_FOLDER if options.quick else FOLDER)
    if not options.quick:
        measured = {"parts": options.parts, "algorithms": options.algorithms}
        dropped = records.would_drop(folder, conditions, contents, measured)
        if dropped:
            print(dropped, file=sys.stderr)
            return 2
    probe, seconds = Probe(options.algorithms, device, options.quick), {}
    for part in options.parts:
        began = time.perf_counter()
        getattr(probe, part)()
        seconds[part] = round(time.perf_counter() - began, 1)
        print(f"{part}: {seconds[part]} s", flush=True)
    document = {
        "probe": "throughput",
        **conditions,
        "is_quick": options.quick,
        "seed": SEED,
        "rounds": probe.rounds._asdict(),
        "wall_seconds": seconds,
        "cases": probe.measured.cases,
    }
    try:
        print(records.write(folder, document, probe.measured.samples))
    except NotWritten as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
