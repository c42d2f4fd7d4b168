#!/usr/bin/env bash
# Unpacks the containerd of another Debian suite into a folder, for tests against other versions of it:
#
#     tests/support/fetch-containerd.sh trixie /tmp/containerd-trixie
#     CRI_GC_TEST_CONTAINERD=/tmp/containerd-trixie/usr/bin/containerd cargo test -p cri-gc-test-support
#
# Only containerd, its shim and ctr are fetched: they run on older systems, while the runc of a newer suite wants a newer C
# library. The runc that is installed does for all of them.
set -euo pipefail

usage="usage: $0 SUITE TARGET_FOLDER   (SUITE: bookworm, trixie, sid, ...)"
"$(dirname "$0")/fetch-packages.sh" "${1:?$usage}" "${2:?$usage}" containerd
"$2/usr/bin/containerd" --version
