package main

import (
	"cmp"
	"compress/gzip"
	"debug/buildinfo"
	"debug/elf"
	"fmt"
	"io"
	"maps"
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
	nobody    = "types, strings and other data without an owner"
	tables    = "tables of functions and lines"
	own       = "slipway itself"
)

// size weighs the binary: as it is released, compressed, and by who owns its code and data.
func (b *bench) size() (outcome, error) {
	var out outcome
	out.Table = [][]string{{"stripped, static", "bytes", "gzip -9", "share"}}
	weights := make(map[string]int64)
	for _, path := range []string{b.hello, b.slipway} {
		size, packed, err := weigh(path)
		if err != nil {
			return out, err
		}
		name := filepath.Base(path)
		weights[name], weights[name+".gz"] = size, packed
		out.Table = append(out.Table, []string{name, count(size), count(packed)})
	}
	// The same program with its symbols: -s changes nothing of what is loaded.
	symbols := filepath.Join(b.dir, "slipway-symbols")
	if err := b.build(b.source, "./cmd/slipway", "-w", symbols); err != nil {
		return out, err
	}
	shares, err := dissect(symbols)
	if err != nil {
		return out, err
	}
	total := weights["slipway"]
	shares[nobody] = total
	for owner, bytes := range shares {
		if owner != nobody {
			shares[nobody] -= bytes
		}
	}
	out.Table = append(out.Table, []string{""}, []string{"of slipway"})
	owners := slices.SortedFunc(maps.Keys(shares), func(a, b string) int { return cmp.Compare(shares[b], shares[a]) })
	for _, owner := range owners {
		share := 100 * float64(shares[owner]) / float64(total)
		out.Table = append(out.Table, []string{owner, count(shares[owner]), "", fmt.Sprintf("%.1f %%", share)})
	}
	out.Notes = []string{
		"a module's bytes are its functions and variables, as the linker's symbols have them; types and tables grow with them",
	}
	out.Raw = struct {
		Binaries map[string]int64 `json:"binaries"`
		Shares   map[string]int64 `json:"shares"`
	}{weights, shares}
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

// dissect returns how many bytes of a binary belong to whom: to a module, to the runtime, to the standard library, or to
// the tables that the linker made of them all. What has no owner is left out.
func dissect(path string) (map[string]int64, error) {
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
	shares := make(map[string]int64)
	if section := file.Section(".gopclntab"); section != nil {
		shares[tables] += int64(section.FileSize)
	}
	for _, s := range symbols {
		if int(s.Section) >= len(file.Sections) || file.Sections[s.Section].Type == elf.SHT_NOBITS || file.Sections[s.Section].Name == ".gopclntab" {
			continue
		}
		switch owner := ownerOf(s.Name, modules); owner {
		case nobody:
		case info.Main.Path:
			shares[own] += int64(s.Size)
		default:
			shares[owner] += int64(s.Size)
		}
	}
	return shares, nil
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
