#!/usr/bin/env bash
# Builds the site into a folder: Sphinx's half (start page, Python, command line) and, in r/, pkgdown's (R, vignettes).
# Usage: docs/build.sh FOLDER   (`make docs` does the set-up first). Without R or pkgdown, the first half alone.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p "$1"
site=$(cd "$1" && pwd)
export SAILERX_PYTHON=${SAILERX_PYTHON:-$PWD/.venv/bin/python}
export R_LIBS="$PWD/.rlib${R_LIBS:+:$R_LIBS}"

missing() {
    printf '%s\n' "$1, so the R reference and the vignettes are left out, and links to them lead nowhere." "${@:2}" >&2
}

rm -rf docs/api # written anew by autosummary
echo "Sphinx: start page, Python, command line"
"$SAILERX_PYTHON" -m sphinx -q -W --keep-going docs "$site"

if [ "${SAILERX_WITHOUT_R:-}" = 1 ] || [ ! -e .rlib/r.txt ]; then
    missing "This is done without R" "\`make setup\` says what R needs."
elif ! Rscript -e 'quit(status = !requireNamespace("pkgdown", quietly = TRUE))'; then
    missing "R lacks pkgdown" "Install it, on Debian as root by" "    apt-get install r-cran-pkgdown" \
        "elsewhere by" "    Rscript -e 'install.packages(\"pkgdown\")'" "Then type \`make docs\` again."
else
    echo "pkgdown: R reference and vignettes; these train models, which takes some minutes the first time"
    Rscript docs/r/site.R "$site/r"
fi
echo "Done: $site/index.html"
