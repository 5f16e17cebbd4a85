package lint

import (
	"path"
	"slices"
	"strings"

	"github.com/slipway-init/slipway/internal/manifest/document"
	"github.com/slipway-init/slipway/internal/plan"
)

// pod is a pod's spec, or the part of one that a patch or a stanza has.
type pod struct {
	spec      *document.Node
	object    string // what holds it: "Deployment shop"
	namespace string
	init      []*container
	own       []*container
}

// whole reports whether the spec is a pod's, and not a part of one.
func (p *pod) whole() bool { return len(p.own) > 0 }

// container is one container of a pod.
type container struct {
	node    *document.Node
	pod     *pod
	name    string
	init    bool
	sidecar bool
	slipway bool
	plan    *plan.Plan
	at      func(plan.Pos) document.Pos
}

// object names the container for people.
func (c *container) object() string { return c.pod.object + ", container " + c.name }

// manifest checks all pods in the objects.
func (l *linter) manifest(objects []*document.Node) {
	l.objects = objects
	for _, found := range document.Pods(objects) {
		l.pod(&pod{spec: found.Spec, object: found.Object, namespace: found.Namespace})
	}
}

// pod checks the slipway containers of one pod.
func (l *linter) pod(p *pod) {
	for _, list := range []string{"initContainers", "containers"} {
		for _, n := range p.spec.Get(list).Items() {
			c := &container{node: n, pod: p, name: n.Get("name").Text(), init: list == "initContainers"}
			c.sidecar = c.init && n.Get("restartPolicy").Text() == "Always"
			if c.init {
				p.init = append(p.init, c)
			} else {
				p.own = append(p.own, c)
			}
		}
	}
	var redirect *container
	for _, c := range slices.Concat(p.init, p.own) {
		if c.slipway = l.isSlipway(c); !c.slipway {
			continue
		}
		l.seen++
		l.readPlan(c)
		l.checkContainer(c)
		if c.plan == nil {
			continue
		}
		l.plan(c.plan, c.object(), c.at)
		if redirect != nil {
			l.afterRedirect(c, redirect)
		}
		if slices.ContainsFunc(slices.Collect(c.plan.Tasks()), redirects) {
			redirect = c
		}
	}
}

// isSlipway reports whether a container runs slipway: by its command, its image's name, or arguments that are a chain.
func (l *linter) isSlipway(c *container) bool {
	if command := c.node.Get("command").Texts(); len(command) > 0 {
		return path.Base(command[0]) == "slipway"
	}
	image := c.node.Get("image").Text()
	image, _, _ = strings.Cut(image, "@")
	repository := path.Base(image)
	repository, _, _ = strings.Cut(repository, ":")
	if strings.Contains(repository, "slipway") {
		return true
	}
	args := c.node.Get("args").Texts()
	if len(args) == 0 {
		return c.env("SLIPWAY_PLAN") != nil
	}
	_, err := plan.ParseArgs(l.Kinds, args)
	return err == nil
}

// env returns a variable of the container, nil if it has none of the name.
func (c *container) env(name string) *document.Node {
	for _, variable := range c.node.Get("env").Items() {
		if variable.Get("name").Text() == name {
			return variable
		}
	}
	return nil
}

// readPlan reads what the container runs.
func (l *linter) readPlan(c *container) {
	var words []*document.Node
	if command := c.node.Get("command").Items(); len(command) > 0 {
		words = command[1:]
	}
	words = append(words, c.node.Get("args").Items()...)
	words = l.skipGlobals(words)
	switch {
	case len(words) == 0:
		variable := c.env("SLIPWAY_PLAN").Get("value")
		if !variable.Given() {
			l.add(planFault, c.node.Pos(), c.object(), "write a chain as args, or a plan as the variable SLIPWAY_PLAN", "the container runs no step")
			return
		}
		l.planText(c, variable)
	case words[0].Text() == "run":
		l.planInFile(c, words)
	case words[0].Text() == "manifest" || words[0].Text() == "lint" || words[0].Text() == "convert" || words[0].Text() == "version" || words[0].Text() == "help":
		return
	default:
		var args []string
		for _, word := range words {
			args = append(args, word.Text())
		}
		c.at = func(pos plan.Pos) document.Pos {
			if pos.Arg >= 1 && pos.Arg <= len(words) {
				return words[pos.Arg-1].Pos()
			}
			return words[len(words)-1].Pos()
		}
		p, err := plan.ParseArgs(l.Kinds, args)
		l.faults(err, c.object(), c.at)
		c.plan = p
	}
}

// skipGlobals returns the words behind the global options.
func (l *linter) skipGlobals(words []*document.Node) []*document.Node {
	for len(words) > 0 {
		name, dashed := strings.CutPrefix(words[0].Text(), "--")
		if !dashed {
			break
		}
		name, _, attached := strings.Cut(name, "=")
		words = words[1:]
		if l.Globals == nil {
			continue
		}
		if flag := l.Globals.Lookup(name); flag != nil && flag.NoOptDefVal == "" && !attached && len(words) > 0 {
			words = words[1:]
		}
	}
	return words
}

// planText reads a plan that is the value of a variable or of a ConfigMap.
func (l *linter) planText(c *container, text *document.Node) {
	c.at = func(pos plan.Pos) document.Pos { return text.Inside(pos.Line, pos.Column) }
	p, err := plan.ParseFile(l.Kinds, "plan", []byte(text.Text()))
	l.faults(err, c.object(), c.at)
	c.plan = p
}

// planInFile reads the plan of "run FILE" from the ConfigMap that the file is mounted from, if the manifest has it.
func (l *linter) planInFile(c *container, words []*document.Node) {
	if len(words) < 2 {
		if text := c.env("SLIPWAY_PLAN").Get("value"); text.Given() {
			l.planText(c, text)
		}
		return
	}
	file := words[1].Text()
	if m := c.mountOf(file); m != nil {
		configMap := c.pod.volume(m.Get("name").Text()).Get("configMap", "name").Text()
		for _, object := range l.objects {
			if configMap != "" && object.Get("kind").Text() == "ConfigMap" && object.Get("metadata", "name").Text() == configMap {
				if text := object.Get("data", path.Base(file)); text.Given() {
					l.planText(c, text)
					return
				}
			}
		}
	}
	l.add(planUnseen, words[1].Pos(), c.object(), "lint the plan's file by itself, or the manifest with its ConfigMap", "the plan %s is not in this manifest", file)
}

// volume returns a volume of the pod by its name.
func (p *pod) volume(name string) *document.Node {
	for _, volume := range p.spec.Get("volumes").Items() {
		if volume.Get("name").Text() == name {
			return volume
		}
	}
	return nil
}

// mountOf returns the mount that a path lies in most closely.
func (c *container) mountOf(name string) *document.Node {
	var best *document.Node
	for _, m := range c.node.Get("volumeMounts").Items() {
		folder := strings.TrimSuffix(m.Get("mountPath").Text(), "/")
		if (name == folder || strings.HasPrefix(name, folder+"/")) && len(folder) >= len(strings.TrimSuffix(best.Get("mountPath").Text(), "/")) {
			best = m
		}
	}
	return best
}
