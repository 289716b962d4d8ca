#!/bin/sh
# Makes sure of a Chromium where that can be done without asking: root on a machine with apt. Else the tests say that
# they are skipped.
set -u
for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null 2>&1 && exit 0
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends chromium; } >&2 ||
        echo "chromium could not be installed: the browser tests will be SKIPPED" >&2
else
    echo "no chromium, and no right to install it (apt-get install chromium): the browser tests will be SKIPPED" >&2
fi
exit 0
