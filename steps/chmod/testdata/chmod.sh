#!/bin/sh
# Writes chmod.txt: what chmod(1) of GNU coreutils 9.1 makes of modes, run as root with a umask of 0.
# Columns: the mode, f for a file or d for a directory, the bits before, the bits after.
set -eu
umask 0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
touch "$scratch/f"
mkdir "$scratch/d"
for mode in 0 644 0644 755 0755 2755 02755 1777 4711 7777 00755 00000 \
	+x +w +r +X +s +t -x -w -X -s -t = =r =rwX =X =s =t + - \
	u+x u+s u-s u+t u= u=s u=rwx u=rwX u=X u-X g+s g-s g= g=s g=rX g+X o+t o-t o= o=t o=X a+X a= a=st a-st \
	u=g g=u o=u g+o o-g u-o a=u =u +g -o go=u ug=o \
	u+x,g-w ug+rw,o= u=rwX,go= u=rwX,g=rX,o= u=rwX,go-w,+t a-x,u+X u+x-w g=u-w ug=rwx,o=rx,g+s \
	=755 =0755 +111 -022 u=rw,+100 uuu+x ugo=rX; do
	for before in 0000 0100 0010 0001 0640 0644 0755 0070 1777 2050 2775 4755 6001 7777; do
		for kind in f d; do
			chmod 00000 "$scratch/$kind"
			chmod "0$before" "$scratch/$kind"
			chmod -- "$mode" "$scratch/$kind"
			echo "$mode $kind $before $(stat -c %04a "$scratch/$kind")"
		done
	done
done
