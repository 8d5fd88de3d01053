#!/bin/sh
# Creates .venv with meterhouse and every locked dependency in it. Safe to run again: it does nothing when nothing changed.
set -u
cd "$(dirname "$0")/.." || exit 1

stop() {
    echo "setup stopped: $1" >&2
    exit 1
}

supported='import sys; raise SystemExit(not ((3, 11) <= sys.version_info[:2] <= (3, 13)))'

find_python() {
    for candidate in "${PYTHON:-}" python3.13 python3.12 python3.11 python3 python; do
        [ -n "$candidate" ] && "$candidate" -c "$supported" >/dev/null 2>&1 && echo "$candidate" && return 0
    done
    return 1
}

fingerprint=$(cat requirements.lock pyproject.toml scripts/setup.sh loaders/plain_walk.py | cksum)
if [ -x .venv/bin/meterhouse ] && [ "$(cat .venv/setup-fingerprint 2>/dev/null)" = "$fingerprint" ] \
    && .venv/bin/python -c "$supported" >/dev/null 2>&1; then
    exit 0
fi

if ! { [ -x .venv/bin/python ] && .venv/bin/python -c "$supported" >/dev/null 2>&1; }; then
    python=$(find_python) || stop "Python 3.11, 3.12 or 3.13 is needed and none was found; install one, or name it with 'make setup PYTHON=/path/to/python'."
    echo "Creating .venv with $("$python" --version)" >&2
    rm -rf .venv
    "$python" -m venv .venv >/dev/null 2>&1 || stop "'$python -m venv .venv' failed; install the venv module (Debian and Ubuntu: apt install python3-venv)."
fi

echo "Installing the locked dependencies (about a minute the first time)" >&2
# Only failures are shown: pip's warnings about unused indexes help nobody here.
log=$(mktemp) || stop "no temporary file could be made; free some space in ${TMPDIR:-/tmp}."
if ! .venv/bin/python -m pip install --disable-pip-version-check --quiet --require-hashes -r requirements.lock >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    rm -f "$log"
    stop "pip could not install requirements.lock (its last words are above); check that a package index is reachable and run 'make setup' again."
fi
if ! .venv/bin/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable . >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    rm -f "$log"
    stop "meterhouse itself could not be installed into .venv (pip's last words are above)."
fi
# Else the first large file would wait for it.
if ! .venv/bin/python -c "from pathlib import Path; from loaders.plain_walk import load; load(Path('.venv'))" >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    rm -f "$log"
    stop "loaders/plain_walk.py could not be compiled (numba's last words are above)."
fi
rm -f "$log"
printf '%s\n' "$fingerprint" >.venv/setup-fingerprint
