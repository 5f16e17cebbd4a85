#!/bin/sh
# Installs what the tests in virtual machines need, as far as it is missing: QEMU, the parser of AppArmor, the compiler of SELinux
# policy, by apt-get when this is root. Otherwise it says which command to run. Quiet and quick when all is there.
set -eu

packages=''
need() { if [ ! -x "$2" ]; then packages="$packages $1"; fi; }
need qemu-system-x86 /usr/bin/qemu-system-x86_64
need apparmor /sbin/apparmor_parser
need secilc /usr/bin/secilc
if [ -z "$packages" ]; then exit 0; fi
if ! command -v apt-get >/dev/null; then
	echo "e2e-vm needs the Debian packages$packages (or their like) and there is no apt-get to install them" >&2
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "e2e-vm needs packages that are missing; run: sudo apt-get update && sudo apt-get install --no-install-recommends$packages" >&2
	exit 1
fi
log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # the list is meant to be split
if ! { apt-get -q update && apt-get -qy install --no-install-recommends $packages; } >"$log" 2>&1; then
	cat "$log" >&2
	rm -f "$log"
	exit 1
fi
rm -f "$log"
