#!/bin/sh
# SQLFluff needs dbt, and dbt needs a home folder: a throw-away one, so that linting never waits for a lock.
set -eu
cd "$(dirname "$0")/.."
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
# SQLFluff's worker processes warn about each other when they end.
export PYTHONWARNINGS=ignore METERHOUSE_HOME="$home" DBT_TARGET_PATH="$home/target" DBT_LOG_PATH="$home/logs"
.venv/bin/sqlfluff lint --processes 2 --disable-progress-bar models tests/warehouse
