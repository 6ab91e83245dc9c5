#!/usr/bin/env bash
# Install what the tests need, then pass the gate: format, lint, types, tests. Stops at the first that fails.
#
# RESTORE_VENV  where the virtual environment is or goes (.venv)
# PYTHON        what makes it (python3)
# TEST_WORKERS  processes of pytest (one a core)
# CHROMIUM      the browser of the browser test (one on the path; else Playwright's own)
set -euo pipefail
cd "$(dirname "$0")/.."
exec </dev/null
venv=${RESTORE_VENV:-.venv}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

find_chromium() {
    local name
    for name in ${CHROMIUM:+"$CHROMIUM"} chromium chromium-browser google-chrome /usr/bin/chromium; do
        command -v "$name" && return
    done
    "$venv/bin/python" -c '
from pathlib import Path
from playwright.sync_api import sync_playwright

with sync_playwright() as playwright:
    path = Path(playwright.chromium.executable_path)
print(path if path.exists() else "", end="")
raise SystemExit(not path.exists())'
}

install_chromium() {
    "$venv/bin/playwright" install --with-deps chromium && return
    "$venv/bin/playwright" install chromium && return  # a desktop has the libraries
    command -v apt-get >/dev/null || return
    as_root apt-get update && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y chromium
}

[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
find_chromium >/dev/null || install_chromium || true
CHROMIUM=$(find_chromium) || {
    echo "tests/run.sh: no Chromium here, and neither Playwright nor apt-get could install one; set CHROMIUM to yours" >&2
    exit 1
}
export CHROMIUM PATH="$venv/bin:$PATH"

ruff format --check
ruff check
mypy
pytest --numprocesses "${TEST_WORKERS:-auto}" --dist loadfile
