#!/bin/bash
# Draws the three dashboards as pictures, for a person to look at: right units, colours with a meaning, no empty panel.
# By hand, not in CI: Grafana's components are 400 MB. Needs cargo, node with npm, chromium, and Debian's prometheus.
#
#   monitoring/render/render.sh [SECONDS]      play for so long (240), then draw into monitoring/screenshots/
#
# A test plays the scene (tests/it/monitoring/scene.rs): the real binary, the simulated SageMaker, a Prometheus that scrapes.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-240}
work=$PWD/target/render
mkdir -p "$work"
cp monitoring/render/{package.json,render.mjs,dashboard.jsx} "$work"
(cd "$work" && npm install --no-audit --no-fund --legacy-peer-deps)

scene=$work/prometheus-url
rm -f "$scene"
trap 'rm -f "$scene"' EXIT
AWF_AWS_SCENE=$seconds AWF_AWS_SCENE_FILE=$scene cargo test --test it a_scene_to_look_at -- --ignored >"$work/scene.log" 2>&1 &
playing=$!
until [ -s "$scene" ]; do
    kill -0 $playing 2>/dev/null || { cat "$work/scene.log"; exit 1; }
    sleep 1
done
node "$work/render.mjs" "$(cat "$scene")" "$((seconds + 60))" monitoring/grafana/dashboards monitoring/screenshots
