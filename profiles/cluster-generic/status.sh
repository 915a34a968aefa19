#!/usr/bin/env bash
# status.sh JOB: prints running, success or failed.
set -uo pipefail
# Edit: the scheduler's command. -x asks for jobs that have ended as well.
if ! told=$(qstat -x -f "$1" 2>&1); then
    # A job that the scheduler has forgotten is submitted again: what it made is found and taken. A
    # scheduler that does not answer says nothing about the job.
    case $told in
    *"Unknown Job"*) echo failed ;;
    *) echo running ;;
    esac
    exit 0
fi
value() { sed -n "s/^ *$1 = *//p" <<<"$told" | head -n 1; }
case "$(value job_state) $(value Exit_status)" in
"F 0") echo success ;;
F*) echo failed ;;
*) echo running ;;
esac
