# What an auditor came for: the verdicts on the claims. All from derived tables.


rule claims:
    input:
        "paper/claims.yaml",
        "paper/claims.schema.yaml",
        "{folder}/plan.json",
        lambda wildcards: PLAN.evidence(wildcards.folder),
    output:
        "{folder}/claims.csv",
        "{folder}/claims.md",
    log:
        "logs/{folder}/claims.log",
    params:
        scale=lambda wildcards: PLAN.scale_in(wildcards.folder),
        missing=PLAN.missing,
        sources=PLAN.sources_digest,
    shell:
        "python -m analysis.claims --scale {params.scale}"
        " --missing {params.missing} >{log} 2>&1"
