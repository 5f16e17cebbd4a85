package document

import "strings"

// Pod is a pod's spec in an object, or the part of one that a patch or a stanza has.
type Pod struct {
	Spec      *Node
	Metadata  *Node  // of the pod or its template, nil if there is none
	Object    string // what holds it: "Deployment shop"
	Namespace string
}

// maxVisits bounds how many nodes are looked at, aliases unfolded.
const maxVisits = 300_000

// Pods returns the pods of objects, wherever their specs are: templates of workloads, of jobs in cron jobs, of kinds that
// nobody has heard of, patches of kustomizations, a stanza alone.
func Pods(objects []*Node) []Pod {
	s := &search{budget: maxVisits}
	for _, object := range objects {
		kind, name := object.Get("kind").Text(), object.Get("metadata", "name").Text()
		title := strings.TrimSpace(kind + " " + name)
		if title == "" {
			title = "pod"
		}
		if kind == "Kustomization" || kind == "Component" {
			for _, patch := range object.Get("patches").Items() {
				nested, _ := patch.Get("patch").Nested() // JSON patches and what is no YAML hold no pod
				for _, n := range nested {
					s.find(n, nil, title, "")
				}
			}
			continue
		}
		s.find(object, nil, title, object.Get("metadata", "namespace").Text())
	}
	return s.pods
}

// search is one search for pods.
type search struct {
	pods   []Pod
	budget int
}

func (s *search) find(n, parent *Node, object, namespace string) {
	if s.budget--; s.budget < 0 {
		return
	}
	if containers(n.Get("initContainers")) || containers(n.Get("containers")) {
		s.pods = append(s.pods, Pod{Spec: n, Metadata: parent.Get("metadata"), Object: object, Namespace: namespace})
		return
	}
	for _, value := range n.Entries() {
		s.find(value, n, object, namespace)
	}
	for _, item := range n.Items() {
		s.find(item, nil, object, namespace)
	}
}

// containers reports whether a node is a list of containers.
func containers(n *Node) bool {
	items := n.Items()
	return len(items) > 0 && items[0].Get("name") != nil
}
