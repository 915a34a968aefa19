# Tables and figures of studies that train: bandit, sensitivity, ablation, exploration, proposals. They
# derive from the records at hand and train nothing; what has no record is a named gap. To train and
# probe what a study lacks, then derive:
#
#   snakemake --cores 2 measure_bandit
#   snakemake --cores 2 results/bandit.csv results/proposals.csv
#
# The plan of a study at hand is not committed; it is new wherever a record of a run or a probe is.
TABLES_OF_STUDIES = sorted(
    {table for scale in PLAN.scales for table in PLAN.laboratory(scale)}
)


rule study_at_hand:
    input:
        lambda wildcards: PLAN.prepare_at_hand(wildcards.study),
    output:
        planning.at_hand("{study}"),
    log:
        "logs/laboratory/{study}_plan.log",
    wildcard_constraints:
        study="|".join(PLAN.studied) or "(?!)",
    params:
        overrides=PLAN.overrides_json,
    shell:
        "python -m analysis.plan --scale {wildcards.study} --output {output}"
        " --overrides {params.overrides:q} >{log} 2>&1"


rule laboratory:
    input:
        lambda wildcards: [
            planning.at_hand(study)
            for study in PLAN.laboratory(PLAN.scale_in(wildcards.folder))[
                wildcards.table
            ]
        ],
    output:
        "{folder}/{table}.csv",
        report(
            "{folder}/figures/{table}.svg",
            caption="../paper/captions/figure.rst",
            category=lambda wildcards: captions.heading_of(wildcards.table),
        ),
        "{folder}/figures/{table}.csv",
    log:
        "logs/{folder}/{table}.log",
    wildcard_constraints:
        table="|".join(TABLES_OF_STUDIES) or "(?!)",
    params:
        caption=lambda wildcards: captions.text_of(wildcards.table),
        studies=lambda wildcards: PLAN.laboratory(PLAN.scale_in(wildcards.folder))[
            wildcards.table
        ],
        sources=PLAN.sources_digest,
    shell:
        "python -m analysis.laboratory --table {wildcards.table}"
        " --studies {params.studies} --folder {wildcards.folder} >{log} 2>&1"


# The runs whose visited states are counted are trained for it. A record is a source file, as a run's.
rule count_visits:
    output:
        update("results/probes/visits/{run}.csv"),
        update("results/probes/visits/{run}.json"),
    log:
        "logs/visits/{run}.log",
    wildcard_constraints:
        run=PLAN.to_visit,
    threads: 1
    resources:
        gpu=lambda wildcards: PLAN.gpus,
        # From the beginning at each attempt: such a run keeps no checkpoint.
        runtime=REQUESTS.runtime_anew,
        mem_mb=REQUESTS.memory,
        disk_mb=REQUESTS.disk,
    params:
        study=lambda wildcards: wildcards.run.partition("/")[0],
        overrides=PLAN.overrides_json,
    shell:
        "exec python -m analysis.probes.visits --study {params.study} --run {wildcards.run}"
        " --overrides {params.overrides:q} >>{log} 2>&1"


for study in PLAN.studied:

    rule:
        name:
            f"measure_{study}"
        input:
            lambda wildcards, name=study: PLAN.prepare_measured(name),
        log:
            f"logs/laboratory/{study}_policies.log",
        params:
            # A command is put together when it runs, and `study` is the loop's last one by then.
            study=lambda wildcards, name=study: name,
            overrides=PLAN.overrides_json,
        shell:
            "python -m analysis.probes.policies --study {params.study}"
            " --overrides {params.overrides:q} >{log} 2>&1"
