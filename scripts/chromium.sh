#!/bin/sh
# Installs Chromium for the browser tests, if this user is root on a machine with apt. Otherwise these tests are skipped.
set -u
for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null 2>&1 && exit 0
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends chromium; } >&2 ||
        echo "chromium could not be installed: the browser tests will be SKIPPED" >&2
else
    echo "chromium is not installed (run: apt-get install chromium): the browser tests will be SKIPPED" >&2
fi
exit 0
