# Everything here is derived from records, cheaply. plan.json holds the configurations and the digests
# of the records and is not committed, so that a fresh clone derives again, whatever its files' dates.


wildcard_constraints:
    folder=PLAN.folders,


rule plan:
    input:
        lambda wildcards: PLAN.prepare(wildcards.folder),
    output:
        "{folder}/plan.json",
    log:
        "logs/{folder}/plan.log",
    params:
        scale=lambda wildcards: PLAN.scale_in(wildcards.folder),
        overrides=PLAN.overrides_json,
    shell:
        "python -m analysis.plan --scale {params.scale}"
        " --overrides {params.overrides:q} >{log} 2>&1"


rule tables:
    input:
        "{folder}/plan.json",
    output:
        [captions.if_captioned(f"{{folder}}/{table}") for table in planning.TABLES],
    log:
        "logs/{folder}/tables.log",
    params:
        scale=lambda wildcards: PLAN.scale_in(wildcards.folder),
        missing=PLAN.missing,
        sources=PLAN.sources_digest,
    shell:
        "python -m analysis.tables --scale {params.scale}"
        " --missing {params.missing} >{log} 2>&1"


# Of a sweep: the cell whose settings become defaults.
rule choice:
    input:
        "{folder}/plan.json",
    output:
        "{folder}/choice.csv",
    log:
        "logs/{folder}/choice.log",
    params:
        scale=lambda wildcards: PLAN.scale_in(wildcards.folder),
        missing=PLAN.missing,
        sources=PLAN.sources_digest,
    shell:
        "python -m analysis.choice --scale {params.scale}"
        " --missing {params.missing} >{log} 2>&1"


rule figure:
    input:
        "{folder}/plan.json",
    output:
        report(
            "{folder}/figures/{figure}.svg",
            caption="../paper/captions/figure.rst",
            category=lambda wildcards: captions.heading_of(wildcards.figure),
        ),
        "{folder}/figures/{figure}.csv",
    log:
        "logs/{folder}/{figure}.log",
    wildcard_constraints:
        figure="|".join(planning.FIGURES),
    params:
        caption=lambda wildcards: captions.text_of(wildcards.figure),
        scale=lambda wildcards: PLAN.scale_in(wildcards.folder),
        missing=PLAN.missing,
        sources=PLAN.sources_digest,
    shell:
        "python -m analysis.figures.{wildcards.figure} --scale {params.scale}"
        " --missing {params.missing} >{log} 2>&1"
