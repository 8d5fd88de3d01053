#!/bin/sh
# The main job on a simulated world: four organizations with usage, orders and known discrepancies.
set -eu
cd "$(dirname "$0")/.."
rm -rf demo/world
.venv/bin/meterhouse simulate demo/world
.venv/bin/meterhouse --home demo/home run demo/world/data --as-of 2026-05-10T00:00:00Z
