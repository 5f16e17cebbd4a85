abi <abi/3.0>,

# The application reads what it likes and writes to its own folder; it mounts, traces and loads nothing.
profile shop-web flags=(attach_disconnected, mediate_deleted) {
  / r,
  /** rix,
  /data/** rwk,
  /tmp/** rwk,
  /dev/null rw,
  /proc/** r,

  network inet stream,
  network inet6 stream,
  network inet dgram,
  network inet6 dgram,

  signal (send, receive) peer=shop-web, # a Go program signals its own threads
  signal (receive) peer=unconfined,
}
