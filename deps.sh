#!/usr/bin/env bash
# Installs what Husk is built and run with on Debian 12, and writes build/deps.env with the way to Go. Quick when nothing is missing.
# With the argument lint also what only the linters need.
set -euo pipefail
cd "$(dirname "$0")"

packages=(
  ca-certificates gcc libc6-dev pkg-config                                     # to build
  libvirt-dev librbd-dev librados-dev
  libvirt-daemon-system libvirt-daemon-driver-qemu libvirt-clients             # to run pods
  qemu-system-x86 qemu-utils qemu-block-extra linux-image-cloud-amd64 kmod
  ceph-mon ceph-osd ceph-mgr ceph-common postgresql-15 squashfs-tools e2fsprogs # to store
  docker-registry busybox-static nftables iproute2 procps curl jq prometheus    # for demo and tests
)
# Go: any version from 1.21 on fetches the one that go.mod asks for by itself. Debian 12's own is older; it can still fetch a newer one,
# which the module proxy serves as a module, and which then runs from the module cache.
want=$(awk '$1 == "go" {print $2}' go.mod)
new_enough() { [ -x "$1" ] && "$1" version | grep -qE ' go1\.(2[1-9]|[3-9][0-9])'; }
for go in "$(command -v go)" /usr/local/go/bin/go ""; do
  if new_enough "$go"; then break; fi
done
if [ -z "$go" ]; then packages+=(golang-go); fi

# Node runs the linter of openapi.yaml. Any version from 18 on will do, and Debian 12 has one.
node_major() { node --version | sed 's/^v\([0-9]*\).*/\1/'; }
if [ "${1:-}" = lint ] && ! { command -v npm && command -v node && (($(node_major) >= 18)); } > /dev/null; then packages+=(nodejs npm); fi

missing=()
for p in "${packages[@]}"; do
  dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed || missing+=("$p")
done
if ((${#missing[@]})); then
  if ((EUID != 0)); then
    echo "these packages are missing and installing them needs root: ${missing[*]}" >&2
    exit 1
  fi
  echo "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q
  apt-get install -q -y --no-install-recommends "${missing[@]}"
fi

if [ -z "$go" ]; then
  module=golang.org/toolchain@v0.0.1-go$want.linux-amd64
  root=$(/usr/bin/go env GOMODCACHE)/$module
  go=$root/bin/go
  if [ ! -x "$go" ]; then
    echo "fetching go $want"
    (cd / && GOFLAGS=-mod=mod /usr/bin/go mod download "$module")
    chmod +x "$root"/pkg/tool/*/* "$root"/bin/* # a module's files are not programs
  fi
fi

mkdir -p build
printf 'export PATH=%q:$PATH\n' "$(dirname "$go")" > build/deps.env
