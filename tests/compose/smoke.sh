#!/usr/bin/env bash
# Runs docker-compose.yml on a Docker engine, against the simulated market, and waits for a stored forecast.
# smoke.sh [--all] [--keep]: --all adds Airflow, Prometheus with every target up, and, where their images can be
# pulled, Grafana and the pages of Kafka and Redis; --keep leaves it running.
# Where images cannot be pulled it builds stand-ins of its own (tests/compose/standin/README.md) and says which.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"

all='' keep=''
for argument in "$@"; do
    case $argument in
        --all) all=1 ;;
        --keep) keep=1 ;;
        *) die "unknown option $argument; known: --all, --keep" ;;
    esac
done

WORK=$ROOT/var/standin
LOG=$WORK/log
mkdir -p "$WORK"
: >"$LOG"
export COMPOSE_PROJECT_NAME=tradelake-smoke SOURCE=simulator
engine_pid=''

# An engine that runs already is used; otherwise Debian's, with a data folder of its own, for this run only.
need_engine() {
    docker info >/dev/null 2>&1 && return
    apt_install docker.io iptables
    say "starting a Docker engine under var/standin"
    export DOCKER_HOST=unix://$WORK/docker.sock
    # The engine takes overlay2 where the kernel has it; vfs, its last resort, copies every layer (80 GB for --all).
    dockerd --data-root "$WORK/docker" --exec-root "$WORK/exec" \
        --pidfile "$WORK/docker.pid" -H "$DOCKER_HOST" >"$WORK/dockerd.log" 2>&1 &
    engine_pid=$!
    for _ in {1..60}; do
        docker info >/dev/null 2>&1 && return
        sleep 0.5
    done
    die "the Docker engine did not start: see var/standin/dockerd.log"
}

compose() {
    local files=(-f docker-compose.yml)
    [[ -n ${standins:-} ]] && files+=(-f tests/compose/standin/compose.yml)
    if docker compose version >/dev/null 2>&1; then
        docker compose "${files[@]}" --profile simulator "$@"
    else
        docker-compose "${files[@]}" --profile simulator "$@"
    fi
}

# base NAME PACKAGE...: an image of Debian packages, with this machine's certificate authorities.
base() {
    local name=tradelake-standin/$1
    shift
    docker image inspect "$name" >/dev/null 2>&1 && return
    say "making $name from Debian packages"
    mmdebstrap --quiet --variant=minbase --include="ca-certificates,${*// /,}" \
        --customize-hook='copy-in /etc/ssl/certs /etc/ssl' bookworm - 2>>"$LOG" \
        | docker import --change 'ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt' - "$name" >>"$LOG"
}

# Debian's engine brings no BuildKit.
build() { DOCKER_BUILDKIT=0 docker build -q "$@" >>"$LOG" 2>&1 || die "an image could not be built: see var/standin/log"; }

build_standins() {
    apt_install mmdebstrap docker-compose
    fetch_servers
    base python-base python3,python3-venv,libgomp1
    base java-base openjdk-17-jre-headless,redis-server
    base postgres-base postgresql
    local context=$WORK/context servers=${SERVERS_DIR:-var/servers}
    rm -rf "$context"
    mkdir -p "$context"
    cp -r "$servers/questdb" "$servers/kafka" tests/compose/standin/*.sh "$context/"
    build -t tradelake-standin/java -f tests/compose/standin/java.Dockerfile "$context"
    build -t tradelake-standin/postgres -f tests/compose/standin/postgres.Dockerfile "$context"
    if [[ -n $all ]]; then
        base prometheus-base prometheus,prometheus-alertmanager
        build -t tradelake-standin/prometheus -f tests/compose/standin/prometheus.Dockerfile "$context"
        say "building tradelake/airflow"
        build -t tradelake/airflow:0.1.0 --build-arg BASE=tradelake-standin/python-base -f docker/airflow/Dockerfile .
    fi
    say "building tradelake/app"
    build -t tradelake/app:0.1.0 --build-arg BASE=tradelake-standin/python-base -f docker/app/Dockerfile .
    build_minio "$context"
}

# The same go install as docker/minio/Dockerfile, with this machine's Go, since there is no image of Go either.
build_minio() {
    local version
    version=$(sed -n 's/^ARG MINIO_VERSION=//p' docker/minio/Dockerfile)
    if [[ ! -x $WORK/minio-$version ]]; then
        command -v go >/dev/null || die "Go 1.24 or newer is needed to build MinIO"
        say "building MinIO $version (minutes)"
        CGO_ENABLED=0 GOBIN=$WORK/bin go install -trimpath -ldflags '-s -w' "github.com/minio/minio@$version" >>"$LOG" 2>&1 \
            || die "MinIO could not be built: see var/standin/log"
        mv "$WORK/bin/minio" "$WORK/minio-$version"
    fi
    cp "$WORK/minio-$version" "$1/minio"
    printf 'FROM tradelake-standin/python-base\nCOPY minio /usr/local/bin/minio\nENTRYPOINT ["minio"]\n' \
        | build -t tradelake/minio:0.1.0 -f - "$1"
}

finish() {
    local status=$?
    if [[ -z $keep ]]; then
        compose down --volumes --timeout 20 >>"$LOG" 2>&1 || true
        [[ -n $engine_pid ]] && kill "$engine_pid" && wait "$engine_pid" 2>/dev/null
    fi
    exit "$status"
}

port() { compose port "$1" "$2" | sed 's/.*://'; }

stored_forecasts() {
    curl -fsS -u "tradelake:$QUESTDB_PASSWORD" -G "http://127.0.0.1:$(port questdb 9000)/exec" \
        --data-urlencode 'query=SELECT count() FROM gold_forecasts' 2>/dev/null \
        | sed -n 's/.*"dataset":\[\[\([0-9]*\)\]\].*/\1/p'
}

# How many of Prometheus' targets it cannot scrape; nothing before its first round.
targets_down() {
    curl -fsS -G "http://127.0.0.1:$(port prometheus 9090)/api/v1/query" \
        --data-urlencode 'query=count(up) - sum(up)' 2>/dev/null \
        | sed -n 's/.*"value":\[[^,]*,"\([0-9]*\)"\].*/\1/p'
}

need_engine
trap finish EXIT
scripts/env.sh >&2
set -a
# shellcheck source=/dev/null
source .env
set +a
services=(questdb kafka redis postgres minio minio-init mlflow simulator consumer producer api predictor score)
[[ -n $all ]] && services+=(airflow-apiserver airflow-scheduler airflow-dag-processor prometheus alert-receivers alertmanager)
standins=''
if ! timeout 60 docker pull -q redis:7.4.5-bookworm >/dev/null 2>&1; then
    standins=1
    say "official images cannot be pulled here: QuestDB, Kafka, Redis, PostgreSQL (and Prometheus, Alertmanager) are stand-ins;"
    say "Grafana, Kafka UI and Redis UI have none and are left out"
    build_standins
else
    [[ -n $all ]] && services+=(grafana kafka-ui redis-ui)
    say "building our images"
    compose build >>"$LOG" 2>&1 || die "an image could not be built: see var/standin/log"
fi
say "starting ${#services[@]} services"
began=$SECONDS
compose up -d --no-build "${services[@]}" >>"$LOG" 2>&1 || die "docker compose up failed: see var/standin/log"
for ((i = 0; i < 300; i++)); do
    count=$(stored_forecasts || true)
    ((${count:-0} > 0)) && break
    sleep 1
done
((${count:-0} > 0)) || { compose ps >&2; die "no forecast was stored within five minutes"; }
say "first forecast stored after $((SECONDS - began)) s"
curl -fsS -H 'content-type: application/json' -d '{"symbol":"BTC/USD"}' "http://127.0.0.1:$(port api 5050)/predict_bid"
echo
if [[ -n $all ]]; then
    for ((i = 0; i < 90; i++)); do
        down=$(targets_down || true)
        [[ $down == 0 ]] && break
        sleep 1
    done
    [[ $down == 0 ]] || die "Prometheus cannot scrape ${down:-any} of its targets: see http://127.0.0.1:$(port prometheus 9090)/targets"
    say "Prometheus scrapes every target"
fi
compose ps
docker image ls --format '{{.Repository}}:{{.Tag}} {{.Size}}' | grep -E '^tradelake' | sort
