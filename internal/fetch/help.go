package fetch

// Help is what the help of the steps that fetch says of proof, writing and archives.
const Help = `## Proof

--sha256 says what the object must be; --sha256-file names a manifest as sha256sum writes it, a file or a URL beside the objects. A wrong
digest is an error (65), and nothing is at DEST. Without a digest the object is fetched all the same; the log says that it
was not verified, and the report has the digest that it has. --write-sha256 writes that beside the file, for sha256sum -c.

## How it is fetched

In parts over several connections at once, as many as make it faster and at most --connections, with as much memory for a
large object as for a small one. A part that fails is asked for again by itself, with back-off; one that is slow beside the
others is asked for elsewhere; a server that asks for patience (429, 503) gets it. An object that is replaced in the middle is noticed
and fetched anew. The digest is computed while the parts arrive.

DEST is written beside itself, verified, synced and renamed: after a SIGKILL at any moment it is the old file, the new one or none. A run
that was killed, or failed for a reason that time may mend, leaves what it had beside DEST (.slipway-….partial), and the next one goes on
from there, if it is still the same object.

## Archives

--extract unpacks tar, tar.gz, tar.zst, tar.bz2 and zip while they arrive, told by their content (--extract=zip says which), into a
folder that appears whole; what was there, if slipway made it, is replaced. Names and links that lead out of the folder, devices and
archives that unpack to absurd sizes are refused (65). Files belong to the user that slipway runs as, or to --owner, and keep their
modes but for set-ID and write permission for others. --strip-components, --include and --exclude choose. The archive itself stands
beside the folder while it is unpacked, so the volume needs room for both.
`

// Runs is what it says of second runs, exit codes and privileges.
const Runs = `**A second run** fetches nothing if everything is there. If the digest is known that takes no request: a receipt beside DEST
(.slipway-….receipt) tells that the file was not touched since it was verified, and without one the file is read. If no digest is known, one
request asks whether the object is still the same. Mode and owner of files are mended; for other ones a folder is unpacked anew.

**Exit codes**: 65 if the object is not what its digest says, or the archive is broken or hostile; 66 if there is no such object, or none below the prefix;
69, 74 and 75 if the server is not there, breaks off or asks for patience, after 10 retries of one part that brought nothing; 73 if DEST cannot be
written: no room, read-only, a folder that slipway did not make; 77 if access is denied; 78 if DEST is a symbolic link.

**Privileges**: the right to write to DEST's folder. --owner with another user needs the capability CHOWN.
`
