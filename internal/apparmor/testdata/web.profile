abi <abi/3.0>,

profile web flags=(attach_disconnected) {
  file,
  network,
  signal (send, receive) peer=web,
  deny /denied/** wl,

  ^upload {
    /uploads/** rw,
  }
  profile helper {
    /bin/true ix,
  }
}

profile /usr/sbin/worker flags=(complain) {
  /srv/** r,
}
