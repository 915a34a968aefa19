# What machines measured. A probe's record is a source file, as a run's is: nothing that is derived asks
# for one to be made. To measure on this machine, with nothing beside it:
#
#   snakemake --cores all measure_costs            time and memory by sizes, all methods
#   snakemake --cores all measure_throughput       beside the machine's own matrix products
from glob import glob

# SHA-256 of a rule's inputs, one after the other; coreutils are not everywhere.
DIGEST_OF_INPUTS = (
    'python -c "import hashlib, pathlib, sys;'
    " content = b''.join(pathlib.Path(file).read_bytes() for file in sys.argv[1:]);"
    ' print(hashlib.sha256(content).hexdigest())" {input:q} >{output} 2>{log}'
)
THROUGHPUT_RECORDS = sorted(glob("results/probes/throughput/*.*"))


rule measure_costs:
    log:
        "logs/probes/costs.log",
    threads: workflow.cores
    shell:
        "python -m analysis.probes.costs >{log} 2>&1"


# plan.json is what makes a fresh clone derive again.
rule compute:
    input:
        "{folder}/plan.json",
        sorted(glob("results/probes/costs/*.*") + glob("results/probes/memory/*.*")),
    output:
        [
            captions.if_captioned(f"{{folder}}/{file}")
            for file in artefacts.PROBED["costs"]
        ],
    log:
        "logs/{folder}/compute.log",
    params:
        scale=lambda wildcards: PLAN.scale_in(wildcards.folder),
        missing=PLAN.missing,
        sources=PLAN.sources_digest,
    shell:
        "python -m analysis.compute --scale {params.scale}"
        " --missing {params.missing} >{log} 2>&1"


rule measure_throughput:
    log:
        "logs/probes/throughput.log",
    threads: workflow.cores
    shell:
        "python -m analysis.probes.throughput >{log} 2>&1"


# Not committed, so that a fresh clone derives again, whatever its files' dates.
rule throughput_digest:
    input:
        THROUGHPUT_RECORDS,
    output:
        "logs/probes/throughput.sha256",
    log:
        "logs/probes/throughput_digest.log",
    localrule: True
    params:
        sources=PLAN.sources_digest,
    shell:
        DIGEST_OF_INPUTS


rule throughput:
    input:
        THROUGHPUT_RECORDS,
        digest="logs/probes/throughput.sha256",
    output:
        captions.if_captioned("results/throughput.csv"),
        captions.if_captioned("results/figures/throughput.svg"),
        "results/figures/throughput.csv",
    log:
        "logs/probes/throughput_derived.log",
    params:
        sources=PLAN.sources_digest,
    shell:
        "(python -m analysis.throughput && python -m analysis.figures.throughput) >{log} 2>&1"


# Short animations of policies that runs left on this machine, as records.
rule animate_rollouts:
    log:
        "logs/probes/rollouts.log",
    params:
        scale=PLAN.default,
        overrides=PLAN.overrides_json,
    shell:
        "python -m analysis.probes.rollouts --scale {params.scale}"
        " --overrides {params.overrides:q} >{log} 2>&1"
