#!/usr/bin/env bash
# Makes .venv/ with the project (editable), its tools and, where setup/r.sh found R, rpy2.
# PYTHON=/path/to/python3.12 chooses the interpreter. Nothing is done when nothing has changed.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}

has_nvidia_gpu() { command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q '^GPU'; }

stop() {
    printf '%s\n' "$@" "Then run the same command again." >&2
    exit 1
}

check_interpreter() {
    command -v "$python" >/dev/null ||
        stop "Python 3.11 or newer is needed; \`$python\` was not found. On Debian, as root:" \
            "    apt-get install python3 python3-venv python3-dev"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        stop "Python 3.11 or newer is needed; \`$python\` is $("$python" --version). Name a newer one:" \
            "    make PYTHON=/path/to/python3.11 test"
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        stop "\`$python -m venv\` does not work here. On Debian, as root:" "    apt-get install python3-venv"
}

pip_install() { .venv/bin/python -m pip install -c "$constraints" "$@"; }

install_cpu_torch() { # its version carries "+cpu", and only some indexes have it; the others' own build works too, but is large
    local torch
    torch="torch==$(sed -n 's/^torch==//p' setup/constraints-cpu.txt)"
    pip_install "$torch+cpu" || pip_install "$torch"
}

step() { # TEXT FUNCTION [ARGUMENT ...]
    local text=$1
    shift
    setup/step.sh .venv/setup.log "$text" bash -c "$(declare -p constraints); $(declare -f pip_install install_cpu_torch)"'; "$@"' -- "$@"
}

check_interpreter
# Not an environment's python, .venv's own least of all, but the one that it was made with.
python=$("$python" -c 'import os, sys; print(os.path.realpath(sys._base_executable))')
constraints=setup/constraints-cpu.txt
if has_nvidia_gpu; then constraints=setup/constraints.txt; fi
extras=dev
if [ -f .rlib/r.txt ]; then extras=dev,r; fi
made_for="$("$python" -c 'import sys; print(sys.executable, sys.version)'), $PWD"
state=$(
    echo "$made_for $extras $constraints"
    cat .rlib/r.txt 2>/dev/null || true
    cat pyproject.toml setup/constraints*.txt setup/python.sh
)
if [ "$(cat .venv/.state 2>/dev/null)" = "$state" ]; then exit 0; fi

echo "Setting up .venv/ with $("$python" --version) and the extras [$extras]; nothing outside this folder is changed"
if [ "$(cat .venv/.made_for 2>/dev/null)" != "$made_for" ]; then
    setup/step.sh .rlib/venv.log "  Python environment" "$python" -m venv --clear .venv ||
        stop "\`$python -m venv .venv\` has failed: see above."
    echo "$made_for" >.venv/.made_for
fi
case "$constraints,$(uname -s)" in
*-cpu.txt,Linux) step "  PyTorch for CPUs" install_cpu_torch || stop "torch could not be installed: see above." ;;
esac
step "  sailerx and the Python packages that it uses, compiling rpy2 (about a minute)" pip_install -e ".[$extras]" ||
    stop "The Python packages could not be installed: see above." \
        "rpy2 is compiled, and needs a C compiler, Python's headers and R's. On Debian, as root:" \
        "    apt-get install gcc g++ python3-dev r-base-dev"
printf '%s\n' "$state" >.venv/.state
