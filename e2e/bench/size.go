package main

import (
	"cmp"
	"compress/gzip"
	"debug/buildinfo"
	"debug/elf"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Owners that are no module.
const (
	goRuntime = "the Go runtime"
	standard  = "the standard library"
	nobody    = "types and strings, without an owner"
)

// tables is the section that says which function and line an address belongs to.
const tables = ".gopclntab"

// size weighs the binary: as it is released, compressed, and by who owns its code and data.
func (b *bench) size() (outcome, error) {
	var out outcome
	out.Table = [][]string{{"stripped, static", "bytes", "gzip -9"}}
	binaries := make(map[string]int64)
	for _, path := range []string{b.hello, b.slipway} {
		size, packed, err := weigh(path)
		if err != nil {
			return out, err
		}
		name := filepath.Base(path)
		binaries[name], binaries[name+".gz"] = size, packed
		out.Table = append(out.Table, []string{name, count(size), count(packed)})
	}
	// The same program with its symbols: -s changes nothing of what is loaded.
	symbols := filepath.Join(b.dir, "slipway-symbols")
	if err := b.build(b.source, "./cmd/slipway", "-w", symbols); err != nil {
		return out, err
	}
	parts, err := dissect(symbols, binaries["slipway"])
	if err != nil {
		return out, err
	}
	out.Table = append(out.Table, []string{""}, []string{"of slipway", "code", "data", "tables", "share"})
	for _, p := range parts {
		share := 100 * float64(p.sum()) / float64(binaries["slipway"])
		out.Table = append(out.Table, []string{p.Owner, count(p.Code), count(p.Data), count(p.Tables), fmt.Sprintf("%.1f %%", share)})
	}
	out.Notes = []string{
		"code and data are summed from the linker's symbols; the tables of functions and lines have no owner and are shared out by code",
	}
	out.Raw = struct {
		Binaries map[string]int64 `json:"binaries"`
		Parts    []part           `json:"parts"`
	}{binaries, parts}
	return out, nil
}

// weigh returns the size of a file, and what gzip makes of it.
func weigh(path string) (size, packed int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	var counted counter
	z, err := gzip.NewWriterLevel(&counted, gzip.BestCompression)
	if err != nil {
		return 0, 0, err
	}
	if size, err = io.Copy(z, f); err != nil {
		return 0, 0, err
	}
	err = z.Close()
	return size, int64(counted), err
}

// counter counts what is written.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// part is what one owner has of a binary, in bytes.
type part struct {
	Owner  string `json:"owner"`
	Code   int64  `json:"code"`
	Data   int64  `json:"data"`
	Tables int64  `json:"tables"` // its share of the tables of functions and lines, in proportion to its code
}

func (p part) sum() int64 { return p.Code + p.Data + p.Tables }

// dissect returns who has what of a binary, the largest part first, given its size without symbols.
func dissect(path string, size int64) ([]part, error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return nil, err
	}
	modules := []string{info.Main.Path}
	for _, dep := range info.Deps {
		modules = append(modules, dep.Path)
	}
	file, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	symbols, err := file.Symbols()
	if err != nil {
		return nil, fmt.Errorf("symbols of %s: %w", path, err)
	}
	owners := make(map[string]*part)
	var code, rest int64 = 0, size
	for _, s := range symbols {
		if int(s.Section) >= len(file.Sections) {
			continue
		}
		section := file.Sections[s.Section]
		owner := family(ownerOf(s.Name, modules))
		if section.Type == elf.SHT_NOBITS || section.Name == tables || owner == nobody {
			continue
		}
		p := owners[owner]
		if p == nil {
			p = &part{Owner: owner}
			owners[owner] = p
		}
		if section.Flags&elf.SHF_EXECINSTR != 0 {
			p.Code += int64(s.Size)
			code += int64(s.Size)
		} else {
			p.Data += int64(s.Size)
		}
		rest -= int64(s.Size)
	}
	if section := file.Section(tables); section != nil {
		for _, p := range owners {
			p.Tables = int64(float64(section.FileSize) * float64(p.Code) / float64(code))
			rest -= p.Tables
		}
	}
	return ranked(owners, part{Owner: nobody, Data: rest}, size), nil
}

// ranked returns the parts, the largest first; those below a thousandth of the whole are one.
func ranked(owners map[string]*part, rest part, size int64) []part {
	parts := []part{rest}
	small := 0
	var sum part
	for _, p := range owners {
		if p.sum() >= size/1000 {
			parts = append(parts, *p)
			continue
		}
		small++
		sum.Code, sum.Data, sum.Tables = sum.Code+p.Code, sum.Data+p.Data, sum.Tables+p.Tables
	}
	slices.SortFunc(parts, func(a, b part) int { return cmp.Compare(b.sum(), a.sum()) })
	if small > 0 {
		sum.Owner = fmt.Sprintf("%d smaller ones", small)
		parts = append(parts, sum)
	}
	return parts
}

// family returns the name under which an owner's bytes are told: OpenTelemetry's many modules come and go together.
func family(owner string) string {
	if strings.HasPrefix(owner, "go.opentelemetry.io/") {
		return "go.opentelemetry.io/..."
	}
	return owner
}

// ownerOf returns whom a symbol of the linker belongs to: one of the modules, of which the first is the main one,
// goRuntime, standard, or nobody.
func ownerOf(symbol string, modules []string) string {
	name := symbol
	for _, prefix := range []string{"type:.eq.", "type:.hash.", "go:itab.", "*"} {
		name = strings.TrimPrefix(name, prefix)
	}
	if strings.HasPrefix(name, "go:") || strings.HasPrefix(name, "type:") {
		return nobody
	}
	name, _, _ = strings.Cut(name, ",") // an itab names the type, then the interface
	name, _, _ = strings.Cut(name, "[") // type arguments may be of other packages
	if plain, err := url.PathUnescape(name); err == nil {
		name = plain // a dot in the last element of a path is %2e
	}
	if strings.HasPrefix(name, "main.") {
		return modules[0]
	}
	owner := ""
	for _, module := range modules {
		rest, ok := strings.CutPrefix(name, module)
		if ok && len(module) > len(owner) && (rest == "" || rest[0] == '.' || rest[0] == '/') {
			owner = module
		}
	}
	if owner != "" {
		return owner
	}
	element, _, nested := strings.Cut(name, "/")
	pkg, _, qualified := strings.Cut(element, ".")
	switch {
	case !qualified && !nested, pkg == "runtime", strings.HasPrefix(name, "internal/runtime/"): // assembly has names without a package
		return goRuntime
	case nested && qualified:
		return nobody // a module that is not in the list
	}
	return standard
}
