#!/bin/sh
# Installs the servers and tools that the end-to-end tests start, as far as they are missing: Debian packages, by
# apt-get when this is root. Otherwise it says which command to run. Quiet and quick when all is there.
#
#   deps.sh       what the tests of this folder need, and AppArmor's parser, which tests of slipway's own steps use
#   deps.sh vm    what those in virtual machines need
set -eu

packages=''
# need PACKAGE FILE...: the package is there when one of the files is.
need() {
	package=$1
	shift
	for file; do
		if [ -x "$file" ]; then return; fi
	done
	packages="$packages $package"
}
need apparmor /sbin/apparmor_parser
if [ "${1:-}" = vm ]; then
	need qemu-system-x86 /usr/bin/qemu-system-x86_64
	need secilc /usr/bin/secilc
else
	need nginx-light /usr/sbin/nginx
	need redis-server /usr/bin/redis-server
	need mariadb-server /usr/sbin/mariadbd
	need postgresql /usr/lib/postgresql/*/bin/postgres
	need etcd-server /usr/bin/etcd
	need openssl /usr/bin/openssl
	need strace /usr/bin/strace
	need iproute2 /usr/sbin/ip /sbin/ip
	need iptables /usr/sbin/iptables-legacy
	need nftables /usr/sbin/nft
	need time /usr/bin/time
	need git /usr/bin/git
	need git-lfs /usr/bin/git-lfs
	need fcgiwrap /usr/sbin/fcgiwrap
	need openssh-server /usr/sbin/sshd
	need openssh-client /usr/bin/ssh-keygen
	need gnupg /usr/bin/gpg
fi
if [ -z "$packages" ]; then exit 0; fi

if ! command -v apt-get >/dev/null; then
	echo "e2e needs the Debian packages$packages (or their like) and there is no apt-get to install them" >&2
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "e2e needs packages that are missing; run: sudo apt-get update && sudo apt-get install --no-install-recommends$packages" >&2
	exit 1
fi

# No service may start: the tests start their own, on free ports. policy-rc.d is Debian's switch for that; one that is
# there already is left as it is.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	trap 'rm -f $policy' EXIT
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
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
