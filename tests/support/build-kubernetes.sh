#!/usr/bin/env bash
# Builds programs of a real Kubernetes, for the tests that want one, from Debian's source package (Kubernetes 1.20.2, with all
# that it needs in it):
#
#     tests/support/build-kubernetes.sh /var/cache/cri-gc/kubernetes
#
# Without names it makes all that the tests use: kubelet, kube-apiserver, kube-controller-manager, kubectl. That of kubectl is
# Debian's own program of the same version. A program that the folder has is left as it is, so that a cache is filled once.
# Debian's golang-go, jq, make and rsync are needed, a few GB of disk meanwhile, and 15 to 30 minutes of two cores.
set -euo pipefail

usage="usage: $0 FOLDER [PROGRAM]...   (PROGRAM: kubelet, kube-apiserver, kube-controller-manager, kubectl)"
folder=$(realpath -m "${1:?$usage}")
shift
[ "$#" -gt 0 ] || set -- kubelet kube-apiserver kube-controller-manager kubectl
here=$(realpath "$(dirname "$0")")

wanted=()
for program in "$@"; do
    if [ -x "$folder/$program" ]; then
        continue
    elif [ "$program" = kubectl ]; then
        mkdir -p "$folder"
        work=$(mktemp -d -p "$folder")
        "$here/fetch-packages.sh" bookworm "$work" kubernetes-client
        install "$work/usr/bin/kubectl" "$folder/"
        rm -rf "$work"
    else
        wanted+=("cmd/$program")
    fi
done
[ "${#wanted[@]}" -gt 0 ] || exit 0
for tool in go jq make rsync; do
    command -v "$tool" >/dev/null || { echo "$0: $tool is missing" >&2; exit 1; }
done

mkdir -p "$folder"
work=$(mktemp -d -p "$folder")
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
"$here/fetch-packages.sh" --source bookworm "$work" kubernetes
# Kubernetes 1.20 with a newer Go: only as a folder of GOPATH.
export GOPATH=$work/go GOCACHE=$work/cache GO111MODULE=off CGO_ENABLED=0 GOFLAGS=
tree=$GOPATH/src/k8s.io/kubernetes
mkdir -p "$tree"
tar -xf "$work"/kubernetes_*.orig.tar.* -C "$tree" --strip-components=1
# It is no checkout, so its version has to be said.
version=$(ls "$work" | sed -n 's/^kubernetes_.*really\([0-9.]*\)\.orig\.tar\..*/\1/p')
cat >"$work/version" <<VERSION
KUBE_GIT_COMMIT=''
KUBE_GIT_TREE_STATE='archive'
KUBE_GIT_VERSION='v$version'
KUBE_GIT_MAJOR='${version%%.*}'
KUBE_GIT_MINOR='$(cut -d. -f2 <<<"$version")'
VERSION
cd "$tree"
# `make` generates sources that the programs need, then builds them.
make WHAT="${wanted[*]}" KUBE_GIT_VERSION_FILE="$work/version"
for program in "${wanted[@]}"; do
    install "_output/local/go/bin/$(basename "$program")" "$folder/"
done
ls -l "$folder"
