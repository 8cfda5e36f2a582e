#!/usr/bin/env bash
# Sees to a Chromium for the browser tests of engine/serve, which are skipped where there is none.
# Installs Debian's package where VITFT_INSTALL=yes allows it, as CI does; says how otherwise. Never fails.
set -u

for name in "${CHROMIUM:-}" chromium chromium-browser google-chrome; do
  [ -n "$name" ] && command -v "$name" >/dev/null 2>&1 || continue
  echo "chromium: using $(command -v "$name")"
  exit 0
done
if [ "${VITFT_INSTALL:-}" = yes ] && command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
  echo 'chromium: installing it with apt-get, for the browser tests of vitft serve'
  export DEBIAN_FRONTEND=noninteractive
  install() { apt-get install --yes --quiet=2 --no-install-recommends chromium >/dev/null 2>&1; }
  { install || { apt-get update --quiet=2 >/dev/null 2>&1 && install; }; } && command -v chromium >/dev/null 2>&1 && exit 0
fi
echo 'chromium: there is none, so the browser tests of vitft serve will be skipped; install one (as root on Debian:' \
  'VITFT_INSTALL=yes scripts/chromium.sh), or name it in CHROMIUM'
exit 0
