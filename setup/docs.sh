#!/usr/bin/env bash
# What `make docs` needs beyond the other commands: the extra `docs` in .venv/ and R's pkgdown.
# With --python, the former alone. Nothing is done when nothing has changed.
set -euo pipefail
cd "$(dirname "$0")/.."
export R_LIBS="$PWD/.rlib${R_LIBS:+:$R_LIBS}"

install_extra() {
    local state
    state=$(cat .venv/.state setup/docs.sh)
    if [ "$(cat .venv/.docs 2>/dev/null)" = "$state" ]; then return; fi
    echo "Adding the extra [docs] to .venv/"
    .venv/bin/python -m pip install -q -c setup/constraints.txt -e ".[docs]" || {
        echo "The Python packages of the extra [docs] could not be installed: see above." >&2
        exit 1
    }
    printf '%s\n' "$state" >.venv/.docs
}

has_pkgdown() { Rscript -e 'quit(status = !requireNamespace("pkgdown", quietly = TRUE))' 2>/dev/null; }

debian_pkgdown() { # of the Debian that R itself comes from
    local release
    release=$(apt-cache policy r-base-core | sed -n '/\*\*\*/{n;s/.* \([a-z]*\)\/main.*/\1/p}')
    echo "apt-get install -y --no-install-recommends ${release:+-t $release }r-cran-pkgdown"
}

install_pkgdown() {
    if ! command -v Rscript >/dev/null; then
        echo "Half of the site is R's, and there is no R on this machine: \`make setup\` says how to get it." >&2
        exit 1
    fi
    if has_pkgdown; then return; fi
    if [ "$(id -u)" = 0 ] && grep -qs '^ID=debian$' /etc/os-release && dpkg -s r-base-core >/dev/null 2>&1; then
        echo "R lacks pkgdown. This is Debian and you are root, so it is installed now, by:" "$(debian_pkgdown)"
        DEBIAN_FRONTEND=noninteractive bash -c "$(debian_pkgdown)" </dev/null >.rlib/pkgdown.log 2>&1 || true
    fi
    has_pkgdown || {
        printf '%s\n' "R lacks pkgdown. Install it, on Debian as root by" "    apt-get install r-cran-pkgdown" \
            "elsewhere by" "    Rscript -e 'install.packages(\"pkgdown\")'" "Then run the same command again." >&2
        exit 1
    }
}

install_extra
[ "${1:-}" = --python ] || install_pkgdown
