# What the scripts in ci/ share: the Debian packages and the builds. Sourced by bash, not run.
# shellcheck shell=bash disable=SC2034

# Building belay. `git` is what the scripts and --git-base use.
packages_build=(
    gcc libc6-dev meson ninja-build pkg-config git
    libpq-dev libsqlite3-dev libzstd-dev libarchive-dev libjansson-dev libcyaml-dev libyaml-dev
    libxxhash-dev libsodium-dev libpg-query-dev
)

# Running it. A PostgreSQL server is needed for its binaries alone: belay starts its own.
packages_run=(postgresql)

# Testing it: suites, memory checkers, report validation, format and script checks.
packages_test=(
    check libasan8 libubsan1 valgrind libc6-dbg libxml2-utils clang-format shellcheck
    python3 python3-yaml procps
    alembic python3-psycopg2 python3-asyncpg python3-aiosqlite
    pgbouncer python3-django sqlite3 zstd chromium
)

# Fuzzing it: libFuzzer is clang's.
packages_fuzz=(clang libclang-rt-14-dev)

say()
{
    printf '%s\n' "$*" >&2
}

die()
{
    say "error: $1"
    shift
    for hint; do
        say "  hint: $hint"
    done
    exit 3
}

installed()
{
    case $1 in
    postgresql)
        # Any server will do, whoever packaged it.
        command -v postgres >/dev/null ||
            compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null
        ;;
    *)
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
        ;;
    esac
}

retry()
{
    local n
    for n in 1 2 3; do
        "$@" && return
        say "attempt $n failed: $*"
        ((n == 3)) || sleep $((n * 5))
    done
    return 1
}

apt_fetches=(apt-get -q -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20)

# apt-get update calls a mirror that does not answer a warning and ends with 0, unless told otherwise;
# it tries thrice by itself. One source of several may be down: what the others have may do.
apt_update()
{
    local log
    log=$(mktemp)
    if ! LC_ALL=C "${apt_fetches[@]}" -o APT::Update::Error-Mode=any update 2>&1 |
        tee "$log" >&2; then
        grep -qE '^(Hit|Get):' "$log" ||
            die "apt reaches no package source, and packages are missing: $*" \
                "is there a network? http_proxy sets a proxy, /etc/apt/sources.list* the sources"
        say "note: apt could not fetch all package lists; going on with those it has"
    fi
    rm -f "$log"
}

apt_install()
{
    DEBIAN_FRONTEND=noninteractive retry \
        "${apt_fetches[@]}" install -y --no-install-recommends -o Dpkg::Use-Pty=0 "$@" >&2 ||
        die "apt could not install: $*" "what it said stands above"
}

# Debian's package would make a database cluster and start it on port 5432, which belay has no use
# for: it is told not to, and its configuration is put back as it was.
install_postgresql()
{
    local conf=/etc/postgresql-common/createcluster.conf saved
    apt_install postgresql-common
    saved=$(mktemp)
    cp -p "$conf" "$saved"
    # shellcheck disable=SC2064 # the paths of now
    trap "cat '$saved' >'$conf'; rm -f '$saved'" EXIT
    pg_conftool "$conf" set create_main_cluster off
    apt_install postgresql
    cat "$saved" >"$conf"
    rm -f "$saved"
    trap - EXIT
}

# Installs what is missing of the named packages, or says what is and ends.
need_packages()
{
    local p missing=()
    if ! command -v dpkg-query >/dev/null; then
        say "note: not a Debian system; going on with the equivalents of: $*"
        return
    fi
    for p; do
        installed "$p" || missing+=("$p")
    done
    ((${#missing[@]})) || return 0
    if ((EUID != 0)); then
        die "these packages are missing: ${missing[*]}" \
            "as root: apt-get update && apt-get install --no-install-recommends ${missing[*]}"
    fi
    say "installing: ${missing[*]}"
    apt_update "${missing[@]}"
    local rest=()
    for p in "${missing[@]}"; do
        if [[ $p == postgresql ]]; then
            install_postgresql
        else
            rest+=("$p")
        fi
    done
    ((${#rest[@]} == 0)) || apt_install "${rest[@]}"
    for p in "${missing[@]}"; do
        installed "$p" || die "could not install $p"
    done
}

# configure DIR [meson options]: sets DIR up, or changes its options when they were others. A build
# folder that was configured by hand stays as it is.
configure()
{
    local dir=$1
    shift
    if [[ ! -f $dir/build.ninja ]]; then
        meson setup "$dir" "$@" >&2 || die "meson could not configure $dir"
    elif [[ ! -f $dir/.options ]]; then
        say "note: using $dir as it is configured"
        return
    elif [[ $(<"$dir/.options") != "$*" ]]; then
        meson configure "$dir" "$@" >&2 || die "meson could not configure $dir"
    fi
    printf '%s\n' "$*" >"$dir/.options"
}

# compile DIR [targets]
compile()
{
    ninja -C "$@" >&2 || die "belay does not compile in $1"
}
