package apparmor

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
)

// MaxPolicy bounds a policy, in bytes, compiled or not. Profiles of a desktop have a few hundred KiB.
const MaxPolicy = 4 << 20

// Policy is compiled policy: one or more profiles, as apparmor_parser writes them and the kernel reads them.
type Policy struct {
	Profiles []Profile

	content  []byte
	versions []int // where the version of each profile stands
}

// Profile is one profile of a policy. Hats and children have their parent's name before theirs: parent//child.
type Profile struct {
	Name string
	Mode Mode

	version uint32
	body    []byte // what follows the header, which the kernel's digest is of
}

// Child reports whether the profile is a hat or child, which lives and dies with its parent.
func (p *Profile) Child() bool { return strings.Contains(p.Name, "//") }

// The codes of the form, see security/apparmor/include/policy_unpack.h of the kernel. Numbers are little-endian.
const (
	codeU8 = iota
	codeU16
	codeU32
	codeU64
	codeName
	codeString
	codeBlob
	codeStruct
	codeStructEnd
	codeList
	codeListEnd
	codeArray
	codeArrayEnd
)

// forceComplain is the bit of a version that makes the kernel take the profile's mode for Complain.
const forceComplain = 0x800

// modes are the kernel's numbers of modes.
var modes = []Mode{Enforce, Complain, Kill, Unconfined, User}

// magic begins every compiled policy: the name of the version, which comes first.
var magic = []byte("\x04\x08\x00version\x00\x02")

// Compiled reports whether content is compiled policy, and not text.
func Compiled(content []byte) bool { return bytes.HasPrefix(content, magic) }

// Parse reads compiled policy, as far as it must be known before it is loaded: the names and modes of its profiles. What the
// kernel would not read is Data.
func Parse(content []byte) (*Policy, error) {
	if len(content) > MaxPolicy {
		return nil, fault.New(fault.Data, "the policy is over %d bytes", MaxPolicy)
	}
	p := &Policy{content: slices.Clone(content)}
	r := &reader{rest: p.content}
	for len(r.rest) > 0 {
		if err := p.profile(r); err != nil {
			return nil, err
		}
	}
	if len(p.Profiles) == 0 {
		return nil, fault.New(fault.Data, "the policy holds no profile")
	}
	return p, nil
}

// String returns the profiles with their modes, as "web (enforce), web//upload (enforce)".
func (p *Policy) String() string {
	var names []string
	for _, profile := range p.Profiles {
		names = append(names, fmt.Sprintf("%s (%s)", profile.Name, profile.Mode))
	}
	return strings.Join(names, ", ")
}

// Bytes returns the policy as the kernel takes it.
func (p *Policy) Bytes() []byte { return p.content }

// Complain makes the kernel write to its log what the profiles would refuse, and let it happen.
func (p *Policy) Complain() {
	for i, at := range p.versions {
		profile := &p.Profiles[i]
		profile.Mode, profile.version = Complain, profile.version|forceComplain
		binary.LittleEndian.PutUint32(p.content[at:], profile.version)
	}
}

// digests returns what the kernel may show as the profile's digest: SHA-1 before Linux 6.8, SHA-256 since.
func (p *Profile) digests() map[string]string {
	hashed := append(binary.LittleEndian.AppendUint32(nil, p.version), p.body...)
	one, two := sha1.Sum(hashed), sha256.Sum256(hashed)
	return map[string]string{"sha1": hex.EncodeToString(one[:]), "sha256": hex.EncodeToString(two[:])}
}

// profile reads a header and the profile behind it.
func (p *Policy) profile(r *reader) error {
	var profile Profile
	if name, ok := r.name(); !ok || name != "version" {
		return garbled("a profile does not begin with its version")
	}
	at := len(p.content) - len(r.rest) + 1
	version, ok := r.u32()
	if !ok {
		return garbled("a version is no number")
	}
	profile.version = version
	body := r.rest
	name, ok := r.name()
	if ok && name == "namespace" {
		namespace, _ := r.text()
		return fault.Hint(fault.New(fault.Data, "a profile is for the namespace %q", namespace),
			"slipway loads policy into its own namespace: compile the profile without one")
	}
	if !ok || name != "profile" || !r.take(codeStruct) {
		return garbled("there is no profile behind a version")
	}
	if profile.Name, ok = r.text(); !ok || !plain(profile.Name) {
		return garbled("a profile has no name that can be written")
	}
	profile.Mode = Enforce
	if err := r.structure(&profile); err != nil {
		return err
	}
	if profile.version&forceComplain != 0 {
		profile.Mode = Complain
	}
	profile.body = body[:len(body)-len(r.rest)]
	p.Profiles, p.versions = append(p.Profiles, profile), append(p.versions, at)
	return nil
}

// plain reports whether a name can be shown, and written to the kernel, as it is.
func plain(name string) bool {
	return name != "" && name[0] != ':' && strings.IndexFunc(name, func(c rune) bool { return c < ' ' || c == 0x7f }) < 0
}

func garbled(why string) error {
	return fault.Hint(fault.New(fault.Data, "it is no whole compiled policy: %s", why), "compile it anew: slipway apparmor-compile")
}

// reader takes the tagged values of a policy off its front.
type reader struct{ rest []byte }

// take takes a code, if it is the next one.
func (r *reader) take(code byte) bool {
	if len(r.rest) == 0 || r.rest[0] != code {
		return false
	}
	r.rest = r.rest[1:]
	return true
}

// skip takes n bytes.
func (r *reader) skip(n int) ([]byte, bool) {
	if n < 0 || n > len(r.rest) {
		return nil, false
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken, true
}

func (r *reader) u32() (uint32, bool) {
	if !r.take(codeU32) {
		return 0, false
	}
	b, ok := r.skip(4)
	if !ok {
		return 0, false
	}
	return binary.LittleEndian.Uint32(b), true
}

// name takes the name of what follows, without its zero byte.
func (r *reader) name() (string, bool) { return r.tagged(codeName) }

// text takes a text, without its zero byte.
func (r *reader) text() (string, bool) { return r.tagged(codeString) }

func (r *reader) tagged(code byte) (string, bool) {
	if !r.take(code) {
		return "", false
	}
	size, ok := r.skip(2)
	if !ok {
		return "", false
	}
	b, ok := r.skip(int(binary.LittleEndian.Uint16(size)))
	return strings.TrimSuffix(string(b), "\x00"), ok
}

// structure takes the rest of a profile, up to the end of its struct, and its mode.
func (r *reader) structure(p *Profile) error {
	named := ""
	for depth := 1; depth > 0; {
		if len(r.rest) == 0 {
			return garbled("it ends in the middle of a profile")
		}
		name, ok := "", true
		switch code := r.rest[0]; code {
		case codeName:
			name, ok = r.name()
		case codeString:
			_, ok = r.text()
		case codeStruct, codeList:
			r.take(code)
			depth++
			if code == codeStruct && depth == 2 && named == "flags" {
				ok = r.flags(p)
			}
		case codeStructEnd, codeListEnd, codeArrayEnd:
			r.take(code)
			depth--
		default:
			ok = r.scalar(code, &depth)
		}
		if !ok {
			return garbled("a value is cut off, or of no kind that is known")
		}
		named = name
	}
	return nil
}

// scalar takes a number, a blob or the beginning of an array.
func (r *reader) scalar(code byte, depth *int) bool {
	r.take(code)
	size := 0
	switch code {
	case codeU8:
		size = 1
	case codeU16:
		size = 2
	case codeU32:
		size = 4
	case codeU64:
		size = 8
	case codeBlob:
		b, ok := r.skip(4)
		if !ok {
			return false
		}
		size = int(binary.LittleEndian.Uint32(b))
	case codeArray:
		*depth++
		size = 2
	default:
		return false
	}
	_, ok := r.skip(size)
	return ok
}

// flags takes the first numbers of the struct that has the profile's mode.
func (r *reader) flags(p *Profile) bool {
	if _, ok := r.u32(); !ok {
		return false
	}
	mode, ok := r.u32()
	if !ok || int(mode) >= len(modes) {
		return false
	}
	p.Mode = modes[mode]
	return true
}
