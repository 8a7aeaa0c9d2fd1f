#!/usr/bin/env bash
# Makes sure of an R (>= 4.3, with Seurat >= 5) and of the project's own R library, .rlib/.
#
# An R that is there is used. Where there is none, and this is Debian, and the user is root, R is installed with
# apt-get, after saying how. In every other case nothing outside this folder changes: what is missing is printed,
# with the commands to type. With SAILERX_WITHOUT_R=1 a missing R is no error.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p .rlib
export R_LIBS="$PWD/.rlib${R_LIBS:+:$R_LIBS}"

apt_sources() { cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null || true; }

debian_release() { # "bookworm" on Debian 12, nothing on other systems
    grep -qs '^ID=debian$' /etc/os-release || return 0
    # With a few packages of Debian 13, Debian 12 calls itself 13; where its other packages come from tells.
    if grep -Eq '^(deb|Suites:).* bookworm( |$)' <<<"$(apt_sources)"; then echo bookworm; return; fi
    sed -n 's/^VERSION_CODENAME=//p' /etc/os-release
}

debian_mirror() { # the one that apt uses already; nothing if it uses none
    grep -Eo '^[^#]*[a-z+]+:/+[^ ]+' <<<"$(apt_sources)" | grep -Eo '[a-z+]+:/+[^ ]+' | grep -v security | head -n 1 || true
}

apt_commands() { # for one Debian release, what root has to type
    local release=$1 from="" mirror
    mirror=$(debian_mirror)
    echo "apt-get update"
    echo "apt-get install -y --no-install-recommends python3-venv python3-dev gcc g++"
    if [ "$release" = bookworm ]; then # after Python, which stays that of Debian 12
        cat <<END
printf '%s\\n' 'Types: deb' 'URIs: ${mirror:-(your mirror of Debian)}' 'Suites: trixie' 'Components: main' 'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg' > /etc/apt/sources.list.d/trixie.sources
printf '%s\\n' 'Package: *' 'Pin: release n=trixie' 'Pin-Priority: 100' > /etc/apt/preferences.d/trixie
apt-get update
END
        from="-t trixie "
    fi
    echo "apt-get install -y --no-install-recommends $from$(grep -v '^#' setup/debian-packages.txt | tr '\n' ' ')"
}

install_on_debian() {
    local commands command text patient
    if [ "$1" = bookworm ] && [ -z "$(debian_mirror)" ]; then
        echo "apt-get knows no mirror of Debian: name one in /etc/apt/sources.list, and run the same command again." >&2
        exit 1
    fi
    commands=$(apt_commands "$1")
    patient='apt-get() { command apt-get -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 "$@"; }'
    echo "There is no R on this machine. It is Debian ($1) and you are root, so R is installed now, by:"
    echo "$commands" | sed 's/^/    /'
    [ "$1" != bookworm ] ||
        echo "(Debian 12 itself has R 4.2 and Seurat 4. At priority 100, only what R needs comes from Debian 13.)"
    while IFS= read -r command; do
        case "$command" in
        *r-base-core*) text="R, Seurat and the R packages that sailerx uses (2 to 4 minutes)" ;;
        *python3-venv*) text="Python's headers and a compiler" ;;
        *update) text="Debian's list of packages" ;;
        *.sources) text="Debian 13 as a source" ;;
        *) text="and its low priority" ;;
        esac
        DEBIAN_FRONTEND=noninteractive setup/step.sh .rlib/apt.log "  $text" bash -euo pipefail -c "$patient"$'\n'"$command" || {
            echo "R could not be installed: see above. Repair that, and run the same command again." >&2
            exit 1
        }
    done <<<"$commands"
}

explain_missing() {
    local release
    release=$(debian_release)
    if [ -n "$release" ]; then
        echo "On this Debian ($release) they come with these commands, typed as root (sudo -i) in $PWD:"
        apt_commands "$release" | sed 's/^/    /'
    elif ! command -v Rscript >/dev/null; then
        echo "Install R 4.3 or newer with your system's package manager (or from CRAN), then type:"
        echo "    Rscript -e 'install.packages(\"BiocManager\"); BiocManager::install(c(\"Seurat\", \"hdf5r\"))'"
    fi
    echo "Then run the same command again. Without R (Python only): SAILERX_WITHOUT_R=1 make test"
}

stop_without_r() {
    rm -f .rlib/r.txt
    if [ "${SAILERX_WITHOUT_R:-}" = 1 ]; then
        echo "SAILERX_WITHOUT_R=1: going on without R." >&2
        exit 0
    fi
    explain_missing >&2
    exit 1
}

try_signac() { # at most once a day: where CRAN is out of reach, later calls cost nothing
    local note=.rlib/no-signac.txt
    if [ -z "$(find "$note" -mmin -1440 2>/dev/null)" ]; then
        if setup/step.sh .rlib/signac.log "Signac, which is optional, from CRAN" \
            timeout 1500 Rscript setup/signac.R "$PWD/.rlib" 2>/dev/null; then
            rm -f "$note"
            return
        fi
        tail -n 1 .rlib/signac.log >"$note"
    fi
    echo "Without Signac (all else works): $(cat "$note"). Next try a day later, or after: rm $note"
}

if ! command -v Rscript >/dev/null; then
    release=$(debian_release)
    if [ -n "$release" ] && [ "$(id -u)" = 0 ] && [ "${SAILERX_WITHOUT_R:-}" != 1 ]; then
        install_on_debian "$release"
    else
        echo "R 4.3 or newer, with Seurat 5 or newer, is needed. There is no R on this machine." >&2
        stop_without_r
    fi
fi
if ! facts=$(Rscript setup/check_r.R); then
    echo "$facts" >&2
    stop_without_r
fi
grep -qx Signac <<<"$facts" || try_signac

# Kept only when it changes: what was built for another R, or in another folder, is built again.
state="$(head -n 1 <<<"$facts"), for $PWD"
[ "$(cat .rlib/r.txt 2>/dev/null)" = "$state" ] || echo "$state" >.rlib/r.txt
