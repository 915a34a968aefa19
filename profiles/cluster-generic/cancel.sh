#!/usr/bin/env bash
# cancel.sh JOB ...: cancels jobs.
# Edit: the scheduler's command.
exec qdel "$@"
