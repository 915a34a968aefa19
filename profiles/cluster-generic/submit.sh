#!/usr/bin/env bash
# submit.sh MINUTES MEGABYTES CORES GPUS SCRIPT: submits a job and prints its id, and nothing else.
set -euo pipefail
minutes=$1 megabytes=$2 cores=$3 gpus=$4 script=$5
mkdir -p logs/jobs
# Edit: the scheduler's command. -V takes the environment along, python among it.
exec qsub -V -N suite -j oe -o logs/jobs/ \
    -l "select=1:ncpus=$cores:mem=${megabytes}mb:ngpus=$gpus" \
    -l "walltime=$((minutes / 60)):$((minutes % 60)):00" \
    -- /bin/bash "$(realpath "$script")"
