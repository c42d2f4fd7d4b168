#!/usr/bin/env bash
# Unpacks the containerd of another Debian suite into a folder, for tests against other versions of it:
#
#     tests/support/fetch-containerd.sh trixie /tmp/containerd-trixie
#     CRI_GC_TEST_CONTAINERD=/tmp/containerd-trixie/usr/bin/containerd cargo test -p cri-gc-test-support
#
# Nothing is installed and the system's own package lists are not touched. The mirror is the one that this machine is
# configured for, and the packages are verified with Debian's archive keys as usual. Only containerd, its shim and ctr
# are fetched: they run on older systems, while the runc of a newer suite wants a newer C library. The runc that is
# installed does for all of them.
set -euo pipefail

usage="usage: $0 SUITE TARGET_FOLDER   (SUITE: bookworm, trixie, sid, ...)"
suite=${1:?$usage}
target=${2:?$usage}
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
echo "deb [signed-by=$keyring] $mirror $suite main" >"$work/sources.list"

apt=(apt-get --quiet=2
    -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferencesparts=/dev/null
    -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache"
    -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
    -o APT::Sandbox::User=root)
"${apt[@]}" update
(cd "$work/debs" && "${apt[@]}" download containerd)

dpkg-deb -x "$work"/debs/containerd_*.deb "$target"
"$target/usr/bin/containerd" --version
