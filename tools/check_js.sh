#!/usr/bin/env bash
# Check the pages' scripts with tsc and eslint, where Node.js is; WAVEUNET_TEST_BROWSER insists.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/web"

if ! command -v npm >/dev/null; then
    echo "npm is not installed: the pages' scripts are not checked."
    [ -z "${WAVEUNET_TEST_BROWSER:-}" ]
    exit
fi
# Exactly what package-lock.json lists, by its hashes; onnxruntime-web is for the tests.
if ! cmp -s package-lock.json node_modules/.installed; then
    npm ci --ignore-scripts --no-audit --no-fund --silent
    cp package-lock.json node_modules/.installed
fi
npx tsc --project tsconfig.json
cd ../..
node_modules=tools/web/node_modules
"$node_modules/.bin/eslint" --config tools/web/eslint.config.js --max-warnings 0 \
    "asteroid_waveunet/experiment/*/templates/*.js"
