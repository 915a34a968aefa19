# A record is a source file: the constraint lets this rule make the runs that have none, and no
# other. It has no input, since dates after a clone are arbitrary. `update` keeps Snakemake from
# deleting what is there when the job starts: a run that a killed workflow left behind may have ended
# since, or is waited for, and its record taken. The checkpoint is no output, since Snakemake deletes
# those of a job that failed. `exec` lets a SIGTERM reach the run itself. What a scheduler is asked
# for follows from what was measured (analysis/requests.py); without a scheduler nothing comes of it.
rule train:
    output:
        update("results/runs/{run}/evaluations.csv"),
        update("results/runs/{run}/metrics.csv"),
        update("results/runs/{run}/run.json"),
    log:
        "logs/{run}.log",
    wildcard_constraints:
        run=PLAN.trainable,
    threads: 1
    resources:
        gpu=lambda wildcards: PLAN.gpus,
        runtime=REQUESTS.runtime,
        mem_mb=REQUESTS.memory,
        disk_mb=REQUESTS.disk,
    params:
        arguments=lambda wildcards: PLAN.train_arguments(wildcards.run),
    shell:
        "exec python -m algorithms.train {params.arguments}"
        " --output results/runs/{wildcards.run} --when-locked wait >>{log} 2>&1"
