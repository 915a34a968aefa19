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
# Its own folder, whatever scale is the default one: in that one's stand the tables of all records.
SAMPLERS_SMOKE = "results/smoke" if "smoke" in PLAN.scales else "build/smoke"


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


SAMPLER_RECORDS = {
    probe: sorted(glob(f"results/probes/{probe}/*.*")) for probe in SAMPLER_TABLES
}
# The table of exactness takes in the critics, wherever they were measured.
SAMPLER_RECORDS["exactness"] += sorted(glob("results/probes/critics/*.*"))


# Of critics whose runs have left their policies here, and of no others.
rule measure_critics:
    log:
        "logs/probes/critics.log",
    shell:
        "python -m analysis.probes.critics >{log} 2>&1"


for probe, table in SAMPLER_TABLES.items():

    rule:
        name:
            f"measure_{probe}"
        log:
            f"logs/probes/{probe}.log",
        threads: workflow.cores
        params:
            # A command is put together when it runs, and `probe` is the loop's last one by then.
            probe=lambda wildcards, name=probe: name,
        shell:
            "python -m analysis.probes.{params.probe} --processes {threads} >{log} 2>&1"

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
            probe=lambda wildcards, name=probe: name,
            sources=planning.digest(
                *(
                    file.read_bytes()
                    for folder in ("algorithms", "analysis/probes")
                    for file in sorted(planning.ROOT.glob(f"{folder}/*.py"))
                )
            ),
        shell:
            "python -m analysis.probes.{params.probe} --scale smoke --name smoke"
            " --processes {threads} >{log} 2>&1"

    # Not committed, so that a fresh clone derives again, whatever its files' dates.
    rule:
        name:
            f"{probe}_digest"
        input:
            SAMPLER_RECORDS[probe],
        output:
            f"logs/probes/{probe}.sha256",
        log:
            f"logs/probes/{probe}_digest.log",
        localrule: True
        params:
            sources=PLAN.sources_digest,
        shell:
            DIGEST_OF_INPUTS

    rule:
        name:
            f"{probe}_derived"
        input:
            SAMPLER_RECORDS[probe],
            digest=f"logs/probes/{probe}.sha256",
        output:
            f"results/{table}.csv",
            captions.if_captioned(f"results/figures/{table}.svg"),
            f"results/figures/{table}.csv",
        log:
            f"logs/probes/{probe}_derived.log",
        params:
            probe=lambda wildcards, name=probe: name,
            table=lambda wildcards, name=table: name,
            sources=PLAN.sources_digest,
        shell:
            "(python -m analysis.{params.probe}"
            " && python -m analysis.figures.{params.table}) >{log} 2>&1"

    rule:
        name:
            f"{probe}_derived_smoke"
        input:
            f"build/probes/{probe}/smoke.csv",
            f"build/probes/{probe}/smoke.json",
        output:
            f"{SAMPLERS_SMOKE}/figures/{table}.csv",
            table=f"{SAMPLERS_SMOKE}/{table}.csv",
            figure=f"{SAMPLERS_SMOKE}/figures/{table}.svg",
        log:
            f"logs/probes/{probe}_derived_smoke.log",
        params:
            probe=lambda wildcards, name=probe: name,
            table=lambda wildcards, name=table: name,
            sources=PLAN.sources_digest,
        shell:
            "(python -m analysis.{params.probe} --records build/probes/{params.probe}"
            " --output {output.table}"
            " && python -m analysis.figures.{params.table} --records build/probes/{params.probe}"
            " --output {output.figure}) >{log} 2>&1"
