// Package needs derives from a plan's effects what a pod must grant so that the plan can run: capabilities, network
// egress, volumes. Steps do not know of it.
package needs

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/step"
)

// Needs are what a plan needs, each list sorted and without repeats.
type Needs struct {
	Capabilities []Capability
	Dials        []string // tcp://host:port, unix:///path, dns://name
	Reads        []string // paths
	Writes       []string // paths; one that ends in "/..." means everything below
	Executes     []string // commands
}

// Capability is one Linux capability and what it is needed for. See capabilities(7).
type Capability struct {
	Name string // as Kubernetes has it: CHOWN, NET_ADMIN
	Why  string // the effect that needs it
}

// capabilities are those that an effect needs by its nature. CHOWN is not needed where the owner is right already.
var capabilities = map[step.Verb]string{
	step.Own:       "CHOWN",
	step.Netfilter: "NET_ADMIN",
	step.Load:      "MAC_ADMIN",
}

// Of returns what p needs.
func Of(p *plan.Plan) Needs {
	var (
		caps                           = make(map[string]string)
		dials, reads, writes, executes = set{}, set{}, set{}, set{}
	)
	for t := range p.Tasks() {
		for _, e := range t.Effects {
			if name, ok := capabilities[e.Verb]; ok {
				if _, known := caps[name]; !known {
					caps[name] = t.ID + ": " + e.String()
				}
			}
			switch e.Verb {
			case step.Dial:
				dials[e.Object] = true
			case step.Read:
				reads[e.Object] = true
			case step.Write, step.Own:
				writes[e.Object] = true
			case step.Execute, step.Replace:
				executes[e.Object] = true
			}
		}
	}
	n := Needs{Dials: dials.sorted(), Reads: reads.sorted(), Writes: writes.sorted(), Executes: executes.sorted()}
	for _, name := range slices.Sorted(maps.Keys(caps)) {
		n.Capabilities = append(n.Capabilities, Capability{Name: name, Why: caps[name]})
	}
	return n
}

// Volumes returns the folders that must be writable: the nearest ones that hold all that is written, none of them
// inside another.
func (n Needs) Volumes() []string {
	folders := set{}
	for _, object := range n.Writes {
		if name, tree := strings.CutSuffix(object, "/..."); tree {
			folders[path.Clean(name)] = true
			continue
		}
		folders[path.Dir(path.Clean(object))] = true
	}
	var volumes []string
	for _, folder := range folders.sorted() {
		if !slices.ContainsFunc(volumes, func(volume string) bool { return holds(volume, folder) }) {
			volumes = append(volumes, folder)
		}
	}
	return volumes
}

// holds reports whether folder is volume or lies in it.
func holds(volume, folder string) bool {
	if volume == "." {
		return !path.IsAbs(folder)
	}
	return folder == volume || strings.HasPrefix(folder, strings.TrimSuffix(volume, "/")+"/")
}

// set is a set of words.
type set map[string]bool

func (s set) sorted() []string { return slices.Sorted(maps.Keys(s)) }
