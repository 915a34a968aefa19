# What an auditor came for, all of it from derived files: verdicts on the claims, a paper.
from glob import glob

PAPER_SOURCES = ["paper/paper.typ", *sorted(glob("paper/parts/*.typ"))]


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


# The paper of the default scale stands beside its source, others with their results.
for scale in PLAN.scales:

    rule:
        name:
            f"paper_{scale}"
        input:
            PAPER_SOURCES,
            f"{PLAN.folder(scale)}/plan.json",
            [
                file
                for file in PLAN.artefacts(scale)
                if not file.endswith((".pdf", ".html"))
            ],
        output:
            planning.paper_of(PLAN.folder(scale)),
        log:
            f"logs/{PLAN.folder(scale)}/paper.log",
        params:
            sources=PLAN.sources_digest,
        shell:
            f"python -m analysis.paper --scale {scale} >{{log}} 2>&1"
