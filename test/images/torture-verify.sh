#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs in the image torture, as its user, and checks that the image was imported
# correctly. Prints "torture: ok" or the errors.
set -u
bad=0
check() {
    what=$1
    shift
    "$@" || { echo "torture: $what"; bad=1; }
}

cd /torture || exit 1
check "not user 1000" [ "$(id -u):$(id -g)" = 1000:1000 ]
check "working directory is not /torture" [ "$PWD" = /torture ]
check "environment" [ "$WITH_SPACES" = "a b  c" ]
check "checksums differ" sha256sum -s -c SHA256SUMS
for gone in hidden dir/a hidden-dir opaque/old opaque/deep again/old link-target device; do
    check "$gone is there" [ ! -e "$gone" ]
done
check "setuid bit is gone" [ -u setuid ]
check "sticky bit is gone" [ -k sticky ]
check "owner is lost" [ "$(stat -c %u:%a replaced)" = 1000:640 ]
check "hard link is a copy" [ "$(stat -c %i kept)" = "$(stat -c %i kept-too)" ]
check "symbolic link" [ "$(readlink absolute)" = /torture/kept ]
check "dangling link" [ -L dangling ]
check "fifo" [ -p fifo ]
check "newline in a name" [ -f "new
line" ]
[ "$bad" = 0 ] && echo "torture: ok"
exit "$bad"
