# What an auditor came for, all of it from derived files: verdicts on the claims, a paper, a report.
from glob import glob

CAPTIONS = sorted(glob("paper/captions/*/*.rst"))
PAPER_SOURCES = ["paper/paper.typ", *sorted(glob("paper/parts/*.typ")), *CAPTIONS]
PAPER_SOURCES += ["paper/sources.csv", "paper/reference_scores.csv"]
REPORT_SOURCES = ["paper/claims.yaml", *sorted(glob("paper/report/page.*")), *CAPTIONS]


rule claims:
    input:
        "paper/claims.yaml",
        "paper/claims.schema.yaml",
        "{folder}/plan.json",
        lambda wildcards: PLAN.evidence(wildcards.folder),
    output:
        captions.if_captioned("{folder}/claims.csv"),
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
            PLAN.read_by_audit(PLAN.folder(scale)),
        output:
            captions.if_captioned(artefacts.paper_of(PLAN.folder(scale))),
        log:
            f"logs/{PLAN.folder(scale)}/paper.log",
        params:
            # The command is put together when it runs, and `scale` is the loop's last one by then.
            scale=lambda wildcards, name=scale: name,
            sources=PLAN.sources_digest,
        shell:
            "python -m analysis.paper --scale {params.scale} >{log} 2>&1"


rule report:
    input:
        REPORT_SOURCES,
        "{folder}/plan.json",
        lambda wildcards: PLAN.read_by_audit(wildcards.folder),
        lambda wildcards: artefacts.clips_of(PLAN.scale_in(wildcards.folder)),
    output:
        "{folder}/report.html",
    log:
        "logs/{folder}/report.log",
    params:
        scale=lambda wildcards: PLAN.scale_in(wildcards.folder),
        missing=PLAN.missing,
        sources=PLAN.sources_digest,
    shell:
        "python -m analysis.report --scale {params.scale}"
        " --missing {params.missing} >{log} 2>&1"
