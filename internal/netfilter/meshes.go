package netfilter

import (
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
)

// Mesh is whose rules redirect a pod's connections.
type Mesh struct {
	Name string
	// chains are the beginnings of the names that its chains have, in iptables or as tables of nft.
	chains []string
	// UID is the user whose connections its redirect lets pass.
	UID int
	// Annotation is the pod's annotation that lets a port pass.
	Annotation string
}

// meshes are those whose init container or CNI plugin leaves rules in a pod's own network namespace. Cilium's are
// elsewhere (eBPF, on the node) and cannot be seen from a pod.
var meshes = []Mesh{
	{"istio", []string{"ISTIO_", "istio-"}, 1337, "traffic.sidecar.istio.io/excludeOutboundPorts"},
	{"linkerd", []string{"PROXY_INIT_"}, 2102, "config.linkerd.io/skip-outbound-ports"},
	{"kuma", []string{"KUMA_MESH_", "MESH_"}, 5678, "traffic.kuma.io/exclude-outbound-ports"},
	{"consul", []string{"CONSUL_"}, 5995, "consul.hashicorp.com/transparent-proxy-exclude-outbound-ports"},
	{"open service mesh", []string{"OSM_PROXY_"}, 1500, "openservicemesh.io/outbound-port-exclusion-list"},
	{"app mesh", []string{"APPMESH_"}, 1337, "appmesh.k8s.aws/egressIgnoredPorts"},
}

// Hint is what a user can do about a connection that the mesh has taken to a proxy that is not up yet. It is short enough
// for the report.
func (m Mesh) Hint() string {
	return fmt.Sprintf("%s redirects this pod: set runAsUser: %d, or the annotation %s", m.Name, m.UID, m.Annotation)
}

// recognise returns the meshes that chains of such names belong to.
func recognise(chains []string) []Mesh {
	var found []Mesh
	for _, m := range meshes {
		if slices.ContainsFunc(m.chains, func(prefix string) bool {
			return slices.ContainsFunc(chains, func(chain string) bool { return strings.HasPrefix(chain, prefix) })
		}) {
			found = append(found, m)
		}
	}
	return found
}

// conflict returns why a back end cannot set rules beside those that are there: another mesh's, or slipway's own by
// another back end.
func conflict(backend string, found found) error {
	if meshes := recognise(found.chains); len(meshes) > 0 {
		names := make([]string, len(meshes))
		for i, m := range meshes {
			names[i] = m.Name
		}
		return fault.Hint(fault.New(fault.Conflict, "%s redirects this pod already", strings.Join(names, " and ")),
			"leave out this step, or keep that mesh out of the pod: two redirects send connections in circles")
	}
	ours := func(earlier string) error {
		return fault.Hint(fault.New(fault.Conflict, "an earlier run has set slipway's rules by the back end %s", earlier),
			"remove them first: slipway iptables-redirect --remove --backend %s", earlier)
	}
	switch {
	case found.table && backend != "nft":
		return ours("nft")
	case found.nftChains && (backend == "nft" || backend == "iptables-legacy"):
		return ours("iptables-nft")
	case found.legacyChains && (backend == "nft" || backend == "iptables-nft"):
		return ours("iptables-legacy")
	}
	return nil
}

// found is what the kernel has of redirects, whoever set them.
type found struct {
	chains       []string // names of the chains and tables of others
	table        bool     // slipway's nft table is there
	nftChains    bool     // slipway's chains are there, set by iptables-nft
	legacyChains bool     // slipway's chains are there, set by iptables-legacy
}
