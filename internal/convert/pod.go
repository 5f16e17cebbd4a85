package convert

import (
	"path"
	"slices"
	"strings"

	"github.com/slipway-init/slipway/internal/manifest/document"
)

// manifest converts what the pods of a manifest do before they start.
func (c *converter) manifest(objects []*document.Node) {
	pods := document.Pods(objects)
	if len(pods) == 0 {
		c.note(document.Pos{}, "there is no pod in it")
	}
	if len(pods) > 1 {
		c.note(pods[1].Spec.Pos(), "several pods are in one plan, one after the other: cut it where each begins, or convert them one by one")
	}
	for _, pod := range pods {
		c.pod(pod)
	}
	c.where = ""
}

// pod converts one pod, in the order in which it starts: volumes, init containers, the injected one.
func (c *converter) pod(pod document.Pod) {
	c.where = pod.Object
	for _, volume := range pod.Spec.Get("volumes").Items() {
		if repository := volume.Get("gitRepo"); repository.Given() {
			c.gitRepo(pod, volume.Get("name").Text(), repository)
		}
	}
	annotations := pod.Metadata.Get("annotations")
	first := annotations.Get(vaultPrefix+"agent-init-first").Text() == "true"
	if first {
		c.vault(annotations)
	}
	for _, container := range pod.Spec.Get("initContainers").Items() {
		c.where = pod.Object + ", container " + container.Get("name").Text()
		c.container(container, container.Get("restartPolicy").Text() == "Always")
	}
	for _, container := range pod.Spec.Get("containers").Items() {
		if imageName(container) == "git-sync" {
			c.where = pod.Object + ", container " + container.Get("name").Text()
			c.container(container, true)
		}
	}
	c.where = pod.Object
	if !first {
		c.vault(annotations)
	}
}

// imageName returns the last part of a container's image, without tag and digest.
func imageName(container *document.Node) string {
	image, _, _ := strings.Cut(container.Get("image").Text(), "@")
	name, _, _ := strings.Cut(path.Base(image), ":")
	return name
}

// container converts one container.
func (c *converter) container(n *document.Node, sidecar bool) {
	var words []word
	for _, item := range slices.Concat(n.Get("command").Items(), n.Get("args").Items()) {
		words = append(words, word{text: item.Text(), pos: item.Pos()})
	}
	command := ""
	if len(n.Get("command").Items()) > 0 {
		command = path.Base(words[0].text)
	}
	if sidecar && imageName(n) != "git-sync" {
		return // it runs beside the application, which is no job of an init container
	}
	// A mesh's own image runs the program that the first argument names.
	name := n.Get("name").Text()
	if len(words) > 0 && path.Base(words[0].text) == "pilot-agent" {
		words = words[1:]
	}
	switch {
	case len(words) > 0 && path.Base(words[0].text) == "istio-iptables":
		c.istio(words[1:])
	case name == "istio-init":
		c.istio(words)
	case imageName(n) == "proxy-init" || name == "linkerd-init":
		c.linkerd(skipCommand(words, command, "proxy-init", "linkerd2-proxy-init"))
	case imageName(n) == "git-sync":
		c.gitSync(skipCommand(words, command, "git-sync"), n.Get("env").Items())
	case imageName(n) == "wait4x" || command == "wait4x":
		c.wait4x(skipCommand(words, command, "wait4x"))
	case slices.Contains([]string{"sh", "bash", "ash", "dash"}, command):
		c.shellContainer(n, words)
	case command != "":
		c.simple(words)
	default:
		c.note(n.Pos(), "the image %s is not known: keep the container", n.Get("image").Text())
	}
}

// skipCommand returns the words behind the program's name, if it is the first one.
func skipCommand(words []word, command string, names ...string) []word {
	if len(words) > 0 && slices.Contains(names, command) {
		return words[1:]
	}
	return words
}

// shellContainer converts a script that a shell gets by -c.
func (c *converter) shellContainer(n *document.Node, words []word) {
	items := slices.Concat(n.Get("command").Items(), n.Get("args").Items())
	for i, w := range words {
		if i > 0 && strings.HasPrefix(w.text, "-") && !strings.HasPrefix(w.text, "--") && strings.HasSuffix(w.text, "c") && i+1 < len(words) {
			if len(words) > i+2 {
				c.note(words[i+2].pos, "the script gets arguments, which it may use as $0, $1")
			}
			c.script(words[i+1].text, func(line int) document.Pos { return items[i+1].Inside(line, 1) })
			return
		}
	}
	c.note(n.Pos(), "the shell's script is in a file: convert that with --from shell")
}

// gitRepo converts a volume of the kind that Kubernetes has no longer (KEP-5040).
func (c *converter) gitRepo(pod document.Pod, volume string, n *document.Node) {
	var mounts []string
	for _, container := range slices.Concat(pod.Spec.Get("containers").Items(), pod.Spec.Get("initContainers").Items()) {
		for _, m := range container.Get("volumeMounts").Items() {
			if m.Get("name").Text() == volume && !slices.Contains(mounts, m.Get("mountPath").Text()) {
				mounts = append(mounts, m.Get("mountPath").Text())
			}
		}
	}
	repository, revision, directory := n.Get("repository").Text(), n.Get("revision").Text(), n.Get("directory").Text()
	if len(mounts) == 0 {
		c.note(n.Pos(), "gitRepo volume %s: no container mounts it", volume)
		return
	}
	if len(mounts) > 1 {
		c.note(n.Pos(), "gitRepo volume %s: it is mounted at %s; the plan writes to the first, and that is where slipway's container mounts it", volume, strings.Join(mounts, ", "))
	}
	if directory == "" {
		directory = strings.TrimSuffix(path.Base(strings.TrimSuffix(repository, "/")), ".git")
	}
	words := []string{"git-clone", "--url=" + repository, "--dir=" + path.Join(mounts[0], directory)}
	if revision != "" {
		words = append(words, "--ref="+revision)
	}
	if c.step(n.Pos(), words...) {
		c.note(n.Pos(), "gitRepo volume %s: make it an emptyDir; there is no .git in it unless --keep-git is given", volume)
	}
}
