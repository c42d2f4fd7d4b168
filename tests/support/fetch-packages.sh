#!/usr/bin/env bash
# Unpacks packages of another Debian suite into a folder, without what they depend on:
#
#     tests/support/fetch-packages.sh trixie /tmp/kubectl kubernetes-client
#
# or, with `--source` first, leaves the files of source packages there, as they are in the archive.
#
# Nothing is installed and the system's own package lists are not touched. The mirror is the one that this machine is
# configured for, and the packages are verified with Debian's archive keys as usual. A package runs like this if it needs
# nothing but an older C library, as programs in Go do.
set -euo pipefail

usage="usage: $0 [--source] SUITE TARGET_FOLDER PACKAGE...   (SUITE: bookworm, trixie, sid, ...)"
kind=deb
if [ "${1:-}" = --source ]; then
    kind=deb-src
    shift
fi
suite=${1:?$usage}
target=${2:?$usage}
shift 2
[ "$#" -gt 0 ] || { echo "$usage" >&2; exit 1; }
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

for tool in apt-get dpkg-deb; do
    command -v "$tool" >/dev/null || { echo "$0: $tool is missing; this needs a Debian system" >&2; exit 1; }
done
[ -r "$keyring" ] || { echo "$0: $keyring is missing (package debian-archive-keyring)" >&2; exit 1; }

# The first configured source that is Debian's main archive (neither its security archive nor a third party's).
mirror=$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(CREATED_BY)|$(REPO_URI)' |
    awk -F'|' '$1 == "Debian" && $2 == "Debian" && $3 == "Packages" { print $4; exit }')
[ -n "$mirror" ] || { echo "$0: no Debian archive is configured, or 'apt-get update' never ran" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir -p "$work"/lists/partial "$work"/cache/archives/partial "$work"/debs "$target"
echo "$kind [signed-by=$keyring] $mirror $suite main" >"$work/sources.list"
# What is installed here does not matter, whichever version it has.
: >"$work/status"

apt=(apt-get --quiet=2
    -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferencesparts=/dev/null
    -o "Dir::State::lists=$work/lists" -o "Dir::State::status=$work/status" -o "Dir::Cache=$work/cache"
    -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
    -o APT::Sandbox::User=root)
"${apt[@]}" update
if [ "$kind" = deb-src ]; then
    (cd "$target" && "${apt[@]}" source --download-only "$@")
    exit
fi
(cd "$work/debs" && "${apt[@]}" download "$@")

for package in "$work"/debs/*.deb; do
    dpkg-deb -x "$package" "$target"
done
