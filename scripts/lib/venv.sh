# Virtual environments with pync in them, for scripts/pync and scripts/test. POSIX sh; sourced, not run.
#
# pync is installed as its users install it, byte-compiled and not editable: that is what is to be tested, and it
# starts fastest. An environment is current while no file of the project is newer than its stamp. The stamp is as old
# as the start of the installation and names the project: a copied tree must not use the environment of its original.
#
# Variables outside a subshell start with pync_: to assign one that the caller exports would change it for pync too.

# pync_python: prints the path of the first Python >= 3.11 in PATH, with its links followed, so that an environment
# made from it is seen to be dead when the system moves to another version.
pync_python() {
    for pync_name in python3 python3.14 python3.13 python3.12 python3.11 python; do
        "$pync_name" -I -c 'if True:
            import os, sys
            if sys.version_info < (3, 11):
                sys.exit(1)
            print(os.path.realpath(sys.executable))' 2>/dev/null && return
    done
    echo "pync: needs Python 3.11 or later, and there is none in PATH" >&2
    return 1
}

# pync_usable DIR ROOT: whether the environment DIR belongs to the project ROOT and has what pync needs.
pync_usable() {
    [ -x "$1/bin/python" ] && [ -f "$1/stamp" ] && read -r pync_stamp <"$1/stamp" && [ "$pync_stamp" = "$2" ] &&
        ! [ "$2/pyproject.toml" -nt "$1/stamp" ]
}

# pync_current DIR ROOT: whether the pync in it is that of the project, too.
pync_current() {
    pync_usable "$1" "$2" && [ -z "$(find "$2/pync" -name __pycache__ -prune -o -newer "$1/stamp" -print)" ]
}

# pync_make DIR ROOT PYTHON ARGUMENTS…: brings the environment DIR up to date. ARGUMENTS are for `pip install`, beside
# pync itself. One process does it at a time and the others wait: the lock is the kernel's, so no dead process keeps it.
pync_make() (
    dir=$1 root=$2 python=$3
    shift 3
    mkdir -p "${dir%/*}" && exec 9>"$dir.lock" || exit
    "$python" -I -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)' || exit
    if pync_current "$dir" "$root"; then
        exit
    fi
    if pync_usable "$dir" "$root"; then
        set -- --force-reinstall --no-deps
    else
        pync_empty "$dir" "$python" || exit
        [ $# = 0 ] || pync_install "$dir" --upgrade pip || exit # --group came with pip 25.1
    fi
    rm -f "$dir/stamp"
    echo "$root" >"$dir/stamp.new"
    pync_install "$dir" "$@" "$root" && mv "$dir/stamp.new" "$dir/stamp"
)

# pync_empty DIR PYTHON: a new environment with nothing but pip. Debian's python3 comes without ensurepip; the pip of
# the system, if there is one, can then put a pip into the environment.
pync_empty() {
    if "$2" -I -m ensurepip --version; then
        "$2" -I -m venv --clear "$1"
    elif "$2" -I -m pip --version; then
        "$2" -I -m venv --clear --without-pip "$1" &&
            "$2" -I -m pip --python "$1/bin/python" install --quiet --disable-pip-version-check pip
    else
        echo "$2 cannot make a virtual environment: install python3-venv (Debian, Ubuntu) or its pip"
        return 1
    fi
}

# pync_install DIR ARGUMENTS…: `pip install` in the environment DIR.
pync_install() {
    pync_dir=$1
    shift
    "$pync_dir/bin/python" -I -m pip install --quiet --disable-pip-version-check --no-input --compile "$@"
}
