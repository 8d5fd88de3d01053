#!/bin/sh
# The models as one page for a browser: meanings, types, tests, SQL and lineage. It needs nobody's warehouse: an empty one
# is built in a throw-away home, because dbt knows the types only of what it finds there.
set -eu
cd "$(dirname "$0")/.."
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
export METERHOUSE_HOME="$home" DBT_TARGET_PATH="$home/target" DBT_LOG_PATH="$home/logs" DO_NOT_TRACK=1
# Else the one table that is not built by default would be missing.
vars='{publish_usage_metadata: true}'
.venv/bin/dbt --quiet build --resource-type seed --resource-type model --vars "$vars"
.venv/bin/dbt --quiet docs generate --static --vars "$vars"
mkdir -p target
# dbt writes the folders of this machine into the page, and pages are sent to others.
.venv/bin/python - "$home" "$PWD" "$home/target/static_index.html" target/docs.html <<'PYTHON'
import json
import sys
from pathlib import Path

*folders, source, page = sys.argv[1:]
text = Path(source).read_text(encoding="utf-8")
for folder in folders:
    text = text.replace(json.dumps(folder)[1:-1], ".")
Path(page).write_text(text, encoding="utf-8")
PYTHON
echo "Wrote $PWD/target/docs.html: open it in a browser, no network is needed."
