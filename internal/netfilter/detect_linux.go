package netfilter

import (
	"bytes"
	"os"
	"strings"
	"unsafe"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// Detect returns the meshes that redirect this network namespace. It needs NET_ADMIN; nftables' rules and those of
// iptables-nft are seen over netlink, those of iptables-legacy by root alone. It runs no program.
func Detect() ([]Mesh, error) {
	f, err := detect(&nft{})
	return recognise(f.chains), err
}

// detect looks at both halves of the kernel. A half that cannot be seen has nothing.
func detect(n *nft) (found, error) {
	f, err := n.found()
	for _, l := range []legacy{legacy4, legacy6} {
		for _, name := range l.chains() {
			if strings.HasPrefix(name, chainPrefix) {
				f.legacyChains = true
				continue
			}
			f.chains = append(f.chains, name)
		}
	}
	return f, err
}

// found returns what nf_tables has.
func (n *nft) found() (f found, err error) {
	conn, err := n.dial()
	if err != nil {
		return f, err
	}
	defer func() { _ = conn.CloseLasting() }()
	chains, err := conn.ListChainsOfTableFamily(nftables.TableFamilyUnspecified)
	if err != nil {
		return f, nftFault(err, "list the chains of nf_tables")
	}
	for _, c := range chains {
		switch {
		case c.Table.Name == TableName:
			f.table = true
		case strings.HasPrefix(c.Name, chainPrefix):
			f.nftChains = true
		default:
			f.chains = append(f.chains, c.Name, c.Table.Name)
		}
	}
	return f, nil
}

// legacy is one family of the tables that iptables had before nf_tables. The kernel gives them as one block of memory, by
// getsockopt(2) on any socket of the family.
type legacy struct {
	names         string // the file that lists the tables that exist; to ask for another one would make it
	domain, level int
}

var (
	legacy4 = legacy{"/proc/self/net/ip_tables_names", unix.AF_INET, unix.SOL_IP}
	legacy6 = legacy{"/proc/self/net/ip6_tables_names", unix.AF_INET6, unix.SOL_IPV6}
)

// chains returns the names of chains that slipway or a mesh it knows has in the table nat, none where they cannot be
// seen.
func (l legacy) chains() []string {
	tables, err := os.ReadFile(l.names)
	if err != nil || !strings.Contains("\n"+string(tables), "\nnat\n") {
		return nil
	}
	block, err := l.table("nat")
	if err != nil {
		return nil
	}
	prefixes := []string{chainPrefix}
	for _, m := range meshes {
		prefixes = append(prefixes, m.chains...)
	}
	var names []string
	for _, prefix := range prefixes {
		for rest := block; ; {
			// A chain begins with an entry that holds its name, behind a zero of the entry's header.
			at := bytes.Index(rest, []byte("\x00"+prefix))
			if at < 0 {
				break
			}
			rest = rest[at+1:]
			name, _, _ := bytes.Cut(rest, []byte{0})
			names = append(names, string(name))
		}
	}
	return names
}

// Options of getsockopt(2), and the kernel's structures behind them: linux/netfilter_ipv4/ip_tables.h, the same for IPv6.
const (
	soGetInfo    = 64
	soGetEntries = 65
)

type getInfo struct {
	name                   [32]byte
	validHooks             uint32
	hookEntries, underflow [5]uint32
	entries, size          uint32
}

// entriesHeader is how long struct ipt_get_entries is before its entries.
const entriesHeader = 40

// table returns the entries of a table.
func (l legacy) table(name string) ([]byte, error) {
	socket, err := unix.Socket(l.domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(socket) }()
	var info getInfo
	copy(info.name[:], name)
	if err := getsockopt(socket, l.level, soGetInfo, unsafe.Pointer(&info), unsafe.Sizeof(info)); err != nil {
		return nil, err
	}
	block := make([]byte, entriesHeader+int(info.size))
	copy(block, name)
	*(*uint32)(unsafe.Pointer(&block[32])) = info.size
	err = getsockopt(socket, l.level, soGetEntries, unsafe.Pointer(&block[0]), uintptr(len(block)))
	return block[entriesHeader:], err
}

func getsockopt(socket, level, option int, value unsafe.Pointer, size uintptr) error {
	length := uint32(size)
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(socket), uintptr(level), uintptr(option),
		uintptr(value), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
