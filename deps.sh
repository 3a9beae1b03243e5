#!/usr/bin/env bash
# Installs what Husk is built and run with on Debian 12, and writes build/deps.env with the way to Go. Quick when nothing is missing.
set -euo pipefail
cd "$(dirname "$0")"

packages=(
  ca-certificates gcc libc6-dev pkg-config                                     # to build
  libvirt-dev librbd-dev librados-dev
  libvirt-daemon-system libvirt-daemon-driver-qemu libvirt-clients             # to run pods
  qemu-system-x86 qemu-utils qemu-block-extra linux-image-cloud-amd64 kmod
  ceph-mon ceph-osd ceph-mgr ceph-common postgresql-15 squashfs-tools e2fsprogs # to store
  docker-registry busybox-static nftables iproute2 procps curl jq               # for demo and tests
)
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

# Go: any version from 1.21 on fetches the one that go.mod asks for by itself. Debian 12's own is older; it can still fetch a newer one,
# which the module proxy serves as a module.
want=$(awk '$1 == "go" {print $2}' go.mod)
go=$(command -v go || { [ -x /usr/local/go/bin/go ] && echo /usr/local/go/bin/go; } || true)
new_enough() { [ -n "$1" ] && "$1" version | grep -qE ' go1\.(2[1-9]|[3-9][0-9])'; }
if ! new_enough "$go"; then
  if [ -z "$go" ]; then
    apt-get update -q
    apt-get install -q -y --no-install-recommends golang-go
    go=$(command -v go)
  fi
  echo "fetching go $want"
  module=golang.org/toolchain@v0.0.1-go$want.linux-amd64
  (cd / && GOFLAGS=-mod=mod "$go" mod download "$module")
  cp -r "$("$go" env GOMODCACHE)/$module" /usr/local/go
  chmod -R u+w /usr/local/go
  chmod +x /usr/local/go/bin/* /usr/local/go/pkg/tool/*/*
  go=/usr/local/go/bin/go
fi

mkdir -p build
printf 'export PATH=%q:$PATH\n' "$(dirname "$go")" > build/deps.env
