# The Pythons of this machine, for scripts/test and scripts/build. bash; sourced, not run.

# Every final CPython >= 3.11 of this machine, one for each minor version, the oldest first: lines of VERSION PATH.
interpreters() {
    local candidate IFS=: # splits PATH
    for candidate in $PATH /usr/local/bin /usr/bin; do
        printf '%s\n' "$candidate"/python3.{11..15}
    done | cat - <(printf '%s\n' ~/.pyenv/versions/*/bin/python /opt/{*,*/*}/bin/python3) |
        while read -r candidate; do
            describe "$candidate"
        done 2>/dev/null | sort -t. -k2,2n -s | awk '!seen[$1]++'
}

# describe PYTHON: prints VERSION PATH of one that interpreters may list.
describe() {
    "$1" -I -c 'if True:
        import os, sys
        if sys.implementation.name == "cpython" and sys.version_info >= (3, 11) and sys.version_info[3] == "final":
            print("%d.%d" % sys.version_info[:2], os.path.realpath(sys.executable))' </dev/null
}

# version_of PYTHON: prints its version, such as 3.13.
version_of() {
    describe "$1" | cut -d' ' -f1
}
