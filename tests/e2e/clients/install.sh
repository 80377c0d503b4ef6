#!/usr/bin/env bash
# Installs what the tests run beside the server: Debian's players, Redis and RabbitMQ (as root on a Debian
# system) and npm's players and parsers (into .lab). What cannot be had is named in one line each and does
# not fail here: the tests that need it skip themselves. Quick where everything is there already.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
lab=$(cd "$here/../../.." && pwd)/.lab

install_debian_packages() {
    local missing=() package
    while read -r package; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
    done <"$here/debian-packages.txt"
    ((${#missing[@]})) || return 0
    if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
        echo "not installed from Debian (that takes root and apt-get), tests that miss one are skipped: ${missing[*]}"
        return 0
    fi
    echo "installing from Debian: ${missing[*]}"
    # the tests start servers of their own: a package's service must neither run nor fail on a port that is taken
    export DEBIAN_FRONTEND=noninteractive SYSTEMD_OFFLINE=1 RUNLEVEL=1
    if ! { apt-get -qq update && apt-get -qq install -y --no-install-recommends "${missing[@]}"; } >"$lab/apt.log" 2>&1; then
        echo "apt-get failed (see $lab/apt.log), tests that miss one are skipped: ${missing[*]}"
    fi
}

install_npm_packages() {
    cmp -s "$here/package-lock.json" "$lab/installed-lock.json" && return 0
    if ! command -v npm >/dev/null; then
        echo "npm is not to be had, tests with browser players and npm's playlist parsers are skipped"
        return 0
    fi
    cp "$here/package.json" "$here/package-lock.json" "$lab"
    if ! npm ci --prefix "$lab" --ignore-scripts --no-audit --no-fund >"$lab/npm.log" 2>&1; then
        echo "npm ci failed (see $lab/npm.log), tests with browser players and npm's playlist parsers are skipped"
        return 0
    fi
    cp "$here/package-lock.json" "$lab/installed-lock.json"
}

mkdir -p "$lab"
install_debian_packages
install_npm_packages
