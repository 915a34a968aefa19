# Protocol -> runs -> statistics -> tables and figures. What is to be made, and where it stands, is
# said by analysis/plan.py; here are rules only.
#
#   snakemake --cores 8 all                      the default scale: trains what has no record
#   snakemake --cores 8 smoke                    any scale or study of the protocol, by its name
#   snakemake results/table1.csv                 one file
#   snakemake all --config missing=gap           trains nothing; absent runs are named gaps
#   snakemake all --configfile mine.yaml         merged into config/protocol.yaml
#   snakemake all --report results/workflow.html how each file was made, after all are there
#   snakemake all --workflow-profile profiles/slurm   on a cluster (profiles/README.md)
#
# (--config and --configfile take every word that follows them, so targets stand before.)
import sys

from snakemake.utils import min_version

min_version("9.27")
sys.path.insert(0, workflow.basedir)

from analysis import artefacts, captions, resolution
from analysis import plan as planning
from analysis import requests as requesting

PLAN = planning.open_plan(config, workflow.is_main_process)
REQUESTS = requesting.of_workflow(PLAN, workflow)
resolution.use_this_python()


localrules:
    all,
    plan,


rule all:
    input:
        PLAN.artefacts(PLAN.default),


for scale in PLAN.scales:

    rule:
        name:
            scale
        input:
            PLAN.artefacts(scale),
        localrule: True


include: "rules/train.smk"
include: "rules/derive.smk"
include: "rules/probes.smk"
include: "rules/audit.smk"
include: "rules/laboratory.smk"
include: "rules/samplers.smk"
