#!/usr/bin/env bash
# boot-inside.sh: runs as a service in the root that boot.sh booted. One line for each check.
set -uo pipefail
url=http://127.0.0.1:7878

check() {
    local title=$1
    shift
    if "$@" >/tmp/check.log 2>&1; then echo "pass  $title"; else
        echo "FAIL  $title"
        sed 's/^/      /' /tmp/check.log
        failed=1
    fi
}

# Asks again until the command succeeds; $1 is the limit in seconds.
within() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [[ $SECONDS -lt $end ]] || { echo "not in time: $*"; return 1; }
        sleep 0.05
    done
}

request() { curl -sS --max-time 70 -H 'Content-Type: application/json' "$@"; }
field() { grep -oE "\"$1\":(\"[^\"]*\"|[0-9]+)" | head -n 1 | cut -d: -f2- | tr -d '"'; }
submit() { request -d "$2" "$url/v1/jobs$1"; }
job() { request "$url/v1/jobs/$1"; }
property() { systemctl show -P "$2" "$1"; }
is_active() { [[ $(property "$1" ActiveState) == active ]]; }
is_state() { [[ $(job "$1" | field state) == "$2" ]]; }
worker_pid() { property jobmill-worker@1.service MainPID; }
child_pids() { pgrep -P "$(worker_pid)"; }

computes() {
    local answer
    answer=$(submit '?wait=30' '{"task":"fib","args":{"n":20}}')
    echo "$answer"
    grep -q '"state":"succeeded"' <<<"$answer" && grep -q '"result":6765' <<<"$answer"
}

# Begins a job that sleeps, and sets `id`.
begin_sleep() {
    id=$(submit '' "{\"task\":\"sleep\",\"args\":{\"ms\":$1}}" | field id)
    [[ -n $id ]] && within 10 is_state "$id" running && return 0
    job "$id"
    request "$url/metrics"
    return 1
}

# ends_with_field ID NAME VALUE: the job succeeds, and shows that.
ends_with_field() {
    local answer
    answer=$(request "$url/v1/jobs/$1?wait=60")
    echo "$answer"
    [[ $(field state <<<"$answer") == succeeded && $(field "$2" <<<"$answer") == "$3" ]]
}

has_restarted() {
    local pid
    pid=$(property "$1" MainPID)
    [[ $pid != 0 && $pid != "$2" ]] && is_active "$1"
}

survives_kill_of() {
    local pid
    pid=$(property "$1" MainPID)
    kill -KILL "$pid" && within 20 has_restarted "$1" "$pid" && within 20 computes
}

child_is_replaced() {
    local before
    before=$(child_pids | wc -l)
    begin_sleep 1500 || return 1
    # Which of the children has the job is not ours to know: all of them die.
    # shellcheck disable=SC2046
    kill -KILL $(child_pids)
    ends_with_field "$id" crashes 1 && [[ $(child_pids | wc -l) == "$before" ]] &&
        [[ $(property jobmill-worker@1.service NRestarts) == 0 ]]
}

parent_is_restarted() {
    local pid
    begin_sleep 1500 || return 1
    pid=$(worker_pid)
    kill -KILL "$pid"
    within 5 has_restarted jobmill-worker@1.service "$pid" && ends_with_field "$id" worker_deaths 1
}

waits_while_the_broker_restarts() {
    local pid
    pid=$(property jobmill-broker.service MainPID)
    systemctl restart --no-block jobmill-broker.service
    computes && within 10 has_restarted jobmill-broker.service "$pid"
}

watchdog_restarts_a_stopped_broker() {
    local pid
    mkdir -p /run/systemd/system/jobmill-broker.service.d
    printf '[Service]\nWatchdogSec=2\nWatchdogSignal=SIGKILL\n' \
        >/run/systemd/system/jobmill-broker.service.d/quick.conf
    systemctl daemon-reload && systemctl restart jobmill-broker.service || return 1
    # A healthy broker outlives several of these.
    pid=$(property jobmill-broker.service MainPID)
    sleep 5
    [[ $(property jobmill-broker.service MainPID) == "$pid" ]] || return 1
    kill -STOP "$pid"
    within 20 has_restarted jobmill-broker.service "$pid" && within 10 computes
}

stop_is_a_drain() {
    begin_sleep 3000 || return 1
    systemctl stop jobmill-worker@1.service
    ends_with_field "$id" attempt 1 && [[ $(property jobmill-worker@1.service Result) == success ]]
}

runs_as() { [[ $(ps -o user:20= -p "$(property "$1" MainPID)" | tr -d ' ') == "$2" ]]; }
cannot_read_the_database() {
    ! nsenter -t "$(worker_pid)" -m -- setpriv --reuid jobmill-worker --regid jobmill-worker \
        --init-groups head -c 1 /var/lib/jobmill/jobmill.db
}
nothing_is_left() { ! pgrep -u jobmill,jobmill-worker -a; }
none_has_failed() { ! systemctl list-units --failed --plain --no-legend 'jobmill*' | grep .; }

echo "systemd $(systemctl --version | head -n 1)"
check "the users are there" id jobmill-worker
check "the target and a worker start" systemctl start jobmill.target jobmill-worker@1.service
for unit in redis.service broker.socket broker.service worker@1.service; do
    check "jobmill-$unit is active" is_active "jobmill-$unit"
done
check "the broker runs as jobmill" runs_as jobmill-broker.service jobmill
check "the worker runs as jobmill-worker" runs_as jobmill-worker@1.service jobmill-worker
check "a job submitted with curl is computed" computes
check "a worker can't read the database" cannot_read_the_database
check "a killed child is replaced and its job retried" child_is_replaced
check "a killed worker is restarted and its job done" parent_is_restarted
check "a killed broker is restarted and works" survives_kill_of jobmill-broker.service
check "a killed Redis is restarted and jobs go on" survives_kill_of jobmill-redis.service
check "requests wait while the broker restarts" waits_while_the_broker_restarts
check "the watchdog restarts a broker that hangs" watchdog_restarts_a_stopped_broker
check "stopping a worker drains it" stop_is_a_drain
check "the target stops" systemctl stop jobmill.target
check "the socket stops" systemctl stop jobmill-broker.socket
check "no process is left" within 10 nothing_is_left
check "no unit has failed" none_has_failed
[[ -z ${failed:-} ]] || journalctl --no-pager -u 'jobmill*' | tail -n 80
echo "pass  the end"
