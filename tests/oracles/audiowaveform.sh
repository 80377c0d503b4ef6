#!/usr/bin/env bash
# Builds BBC audiowaveform 1.10.3 as the program named by the first argument, which must lie outside the
# repository: it is under the GPL, and only tests run it. Needs git, cmake, a C++ compiler and, from Debian,
# libmad0-dev libid3tag0-dev libsndfile1-dev libgd-dev libboost-{program-options,filesystem,regex}-dev; as root
# on Debian what is missing is installed. AUDIOWAVEFORM_SOURCE names another git repository to clone.
set -euo pipefail

program=$1
source=${AUDIOWAVEFORM_SOURCE:-https://github.com/bbc/audiowaveform}
tag=1.10.3
commit=cf17655089fb31b2b642b77d8c13c9960674eb4a
packages=(git cmake g++ libmad0-dev libid3tag0-dev libsndfile1-dev libgd-dev
    libboost-program-options-dev libboost-filesystem-dev libboost-regex-dev)

missing=()
for package in "${packages[@]}"; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
done
if ((${#missing[@]})); then
    if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
        echo "audiowaveform needs these Debian packages, or what holds the same elsewhere: ${missing[*]}" >&2
    else
        echo "installing from Debian: ${missing[*]}" >&2
        apt-get -qq update && apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
    fi
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git -c advice.detachedHead=false clone --quiet --depth 1 --branch "$tag" "$source" "$work/source"
if [[ $(git -C "$work/source" rev-parse HEAD) != "$commit" ]]; then
    echo "the tag $tag of $source is not commit $commit" >&2
    exit 1
fi
cmake -S "$work/source" -B "$work/build" -D ENABLE_TESTS=0 -D CMAKE_BUILD_TYPE=Release >"$work/log" 2>&1 &&
    cmake --build "$work/build" --parallel 2 >>"$work/log" 2>&1 || {
    tail -20 "$work/log" >&2
    exit 1
}
mkdir -p "$(dirname "$program")"
install "$work/build/audiowaveform" "$program"
"$program" --version >&2
