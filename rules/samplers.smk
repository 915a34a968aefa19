# The sampler laboratory. As of every probe, a record is a source file: nothing that is derived at the
# desk scale asks for one to be made. To measure on this machine, an hour or less on two cores:
#
#   snakemake --cores all measure_exactness measure_mixing
#
# The smoke scale measures its own in about a minute, leaves it in build/, and commits nothing:
#
#   snakemake --cores 2 samplers_smoke
from glob import glob

SAMPLER_TABLES = {"exactness": "sampler_exactness", "mixing": "mixing"}
SAMPLERS_SMOKE = PLAN.folder("smoke") if "smoke" in PLAN.scales else "build/smoke"


SAMPLER_FILES = [
    file
    for table in SAMPLER_TABLES.values()
    for file in (f"{table}.csv", f"figures/{table}.svg", f"figures/{table}.csv")
]


rule samplers:
    input:
        expand("results/{file}", file=SAMPLER_FILES),
    localrule: True


rule samplers_smoke:
    input:
        expand("{folder}/{file}", folder=SAMPLERS_SMOKE, file=SAMPLER_FILES),
    localrule: True


for probe, table in SAMPLER_TABLES.items():

    rule:
        name:
            f"measure_{probe}"
        log:
            f"logs/probes/{probe}.log",
        threads: workflow.cores
        shell:
            f"python -m analysis.probes.{probe} --processes {{threads}} >{{log}} 2>&1"

    rule:
        name:
            f"measure_{probe}_smoke"
        output:
            f"build/probes/{probe}/smoke.csv",
            f"build/probes/{probe}/smoke.json",
        log:
            f"logs/probes/{probe}_smoke.log",
        threads: workflow.cores
        params:
            sources=planning.digest(
                *(
                    file.read_bytes()
                    for folder in ("algorithms", "analysis/probes")
                    for file in sorted(planning.ROOT.glob(f"{folder}/*.py"))
                )
            ),
        shell:
            f"python -m analysis.probes.{probe} --scale smoke --name smoke"
            f" --processes {{threads}} >{{log}} 2>&1"

    # Not committed, so that a fresh clone derives again, whatever its files' dates.
    rule:
        name:
            f"{probe}_digest"
        input:
            sorted(glob(f"results/probes/{probe}/*.*")),
        output:
            f"logs/probes/{probe}.sha256",
        log:
            f"logs/probes/{probe}_digest.log",
        localrule: True
        params:
            sources=PLAN.sources_digest,
        shell:
            "cat {input:q} </dev/null 2>{log} | sha256sum >{output}"

    rule:
        name:
            f"{probe}_derived"
        input:
            sorted(glob(f"results/probes/{probe}/*.*")),
            digest=f"logs/probes/{probe}.sha256",
        output:
            f"results/{table}.csv",
            f"results/figures/{table}.svg",
            f"results/figures/{table}.csv",
        log:
            f"logs/probes/{probe}_derived.log",
        params:
            sources=PLAN.sources_digest,
        shell:
            f"(python -m analysis.{probe}"
            f" && python -m analysis.figures.{table}) >{{log}} 2>&1"

    rule:
        name:
            f"{probe}_derived_smoke"
        input:
            f"build/probes/{probe}/smoke.csv",
            f"build/probes/{probe}/smoke.json",
        output:
            f"{SAMPLERS_SMOKE}/{table}.csv",
            f"{SAMPLERS_SMOKE}/figures/{table}.svg",
            f"{SAMPLERS_SMOKE}/figures/{table}.csv",
        log:
            f"logs/probes/{probe}_derived_smoke.log",
        params:
            sources=PLAN.sources_digest,
        shell:
            f"(python -m analysis.{probe} --records build/probes/{probe}"
            f" --output {SAMPLERS_SMOKE}/{table}.csv"
            f" && python -m analysis.figures.{table} --records build/probes/{probe}"
            f" --output {SAMPLERS_SMOKE}/figures/{table}.svg) >{{log}} 2>&1"
