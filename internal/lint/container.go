package lint

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/manifest"
	"github.com/slipway-init/slipway/internal/manifest/document"
	"github.com/slipway-init/slipway/internal/needs"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/step"
)

// serviceAccount is where Kubernetes mounts the API server's token by itself.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

// checkContainer checks one slipway container, whose plan is nil if it could not be read.
func (l *linter) checkContainer(c *container) {
	l.image(c)
	l.resources(c)
	l.rules(c)
	var n needs.Needs
	if c.plan != nil {
		n = needs.Of(c.plan)
		l.capabilities(c, n.Capabilities)
		l.volumes(c, n)
		l.variables(c)
		l.users(c)
		l.replacement(c)
	}
	l.podSecurity(c, n.Capabilities)
}

// image checks that the image is the one that was tested.
func (l *linter) image(c *container) {
	image := c.node.Get("image")
	text := image.Text()
	if text == "" || strings.Contains(text, "@sha256:") || len(c.node.Get("command").Items()) > 0 {
		return // a patch may leave it out; with a command it is the application's own
	}
	_, tag, tagged := strings.Cut(path.Base(text), ":")
	if !tagged || tag == "latest" {
		l.add(imageUnpinned, image.Pos(), c.object(), "name a version and its digest: IMAGE:TAG@sha256:…", "the image %s is whatever was pushed last", text)
		return
	}
	l.add(imageTag, image.Pos(), c.object(), "add the digest: "+text+"@sha256:…", "the tag %s can be moved to another image", tag)
}

// resources checks requests and limits. A pod's request is the greater of the sum of its containers and of each init
// container, both with the sidecars that have begun before.
func (l *linter) resources(c *container) {
	if c.node.Get("resources", "limits", "memory").Text() == "" {
		l.add(memoryLimit, c.node.Pos(), c.object(), "64Mi is enough for every step", "the container has no memory limit")
	}
	if !c.init || c.sidecar || !c.pod.whole() {
		return
	}
	for _, resource := range []string{"cpu", "memory"} {
		request := requestOf(c.node, resource)
		own, ok := quantity(request.Text())
		if !ok {
			continue
		}
		total, known := 0.0, true
		for _, other := range c.pod.own {
			value, ok := quantity(requestOf(other.node, resource).Text())
			if text := requestOf(other.node, resource).Text(); text != "" && !ok {
				known = false
			}
			total += value
		}
		if known && own > total {
			l.add(requestAbovePod, request.Pos(), c.object(), "ask for no more than the application: the init container has ended when it begins",
				"it asks for %s %s, and the application's containers together for less", request.Text(), resource)
		}
	}
}

// requestOf returns a container's request, which is its limit where it has none.
func requestOf(n *document.Node, resource string) *document.Node {
	if request := n.Get("resources", "requests", resource); request.Given() {
		return request
	}
	return n.Get("resources", "limits", resource)
}

// suffixes of quantities: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
var suffixes = []struct {
	text   string
	factor float64
}{
	{"Ki", 1 << 10},
	{"Mi", 1 << 20},
	{"Gi", 1 << 30},
	{"Ti", 1 << 40},
	{"Pi", 1 << 50},
	{"Ei", 1 << 60},
	{"n", 1e-9},
	{"u", 1e-6},
	{"m", 1e-3},
	{"k", 1e3},
	{"M", 1e6},
	{"G", 1e9},
	{"T", 1e12},
	{"P", 1e15},
	{"E", 1e18},
}

// quantity returns the value of a quantity of Kubernetes.
func quantity(text string) (float64, bool) {
	factor := 1.0
	for _, s := range suffixes {
		if digits, ok := strings.CutSuffix(text, s.text); ok {
			text, factor = digits, s.factor
			break
		}
	}
	value, err := strconv.ParseFloat(text, 64)
	return value * factor, err == nil
}

// rules checks the rules by which the kubelet restarts the container.
func (l *linter) rules(c *container) {
	rules := c.node.Get("restartPolicyRules")
	if !rules.Given() {
		return
	}
	if policy := c.node.Get("restartPolicy").Text(); policy == "" {
		l.add(restartRules, rules.Pos(), c.object(), "write restartPolicy: Never beside them", "restartPolicyRules want a restartPolicy of the container")
	}
	for _, rule := range rules.Items() {
		values := rule.Get("exitCodes", "values")
		if rule.Get("exitCodes", "operator").Text() != "In" {
			continue
		}
		for _, value := range values.Items() {
			code, _ := strconv.Atoi(value.Text())
			if !slices.ContainsFunc(fault.Kinds(), func(k fault.Kind) bool { return k.Code() == code }) && code < 128 {
				l.add(restartRules, value.Pos(), c.object(), "69, 74 and 75 are worth another try", "slipway never ends with exit code %s", value.Text())
			}
		}
	}
}

// context returns a field of the container's security context, or of the pod's where the container has none.
func (c *container) context(keys ...string) *document.Node {
	if n := c.node.Get("securityContext").Get(keys...); n.Given() {
		return n
	}
	return c.pod.spec.Get("securityContext").Get(keys...)
}

// user returns the user that the container runs as, as text; "" is the image's.
func (c *container) user() string { return c.context("runAsUser").Text() }

// place returns where a node is, or the container where it is not.
func (c *container) place(n *document.Node) document.Pos {
	if n.Given() {
		return n.Pos()
	}
	return c.node.Pos()
}

// capabilities holds those that the container has against those that its steps need.
func (l *linter) capabilities(c *container, needed []needs.Capability) {
	own := c.node.Get("securityContext", "capabilities")
	added := own.Get("add")
	has := func(name string) bool {
		for _, text := range added.Texts() {
			if text == name || text == "CAP_"+name || text == "ALL" {
				return true
			}
		}
		// Without drop: ALL a container has the runtime's default set.
		return name == "CHOWN" && !slices.Contains(own.Get("drop").Texts(), "ALL") && !slices.Contains(own.Get("drop").Texts(), "CHOWN")
	}
	privileged := c.node.Get("securityContext", "privileged").Text() == "true"
	for _, capability := range needed {
		if !has(capability.Name) && !privileged {
			l.add(capMissing, c.place(own), c.object(), "add it to securityContext.capabilities.add; \"slipway manifest\" prints the whole", "%s needs %s", capability.Why, capability.Name)
		}
	}
	if len(needed) > 0 && c.user() != "0" {
		l.add(capNotRoot, c.place(c.context("runAsUser")), c.object(), "write runAsUser: 0 and runAsNonRoot: false", "it needs %s, and does not run as root", needed[0].Name)
	}
	if runsOthers(c.plan) {
		return // what commands need is theirs to know
	}
	for _, item := range added.Items() {
		name := strings.TrimPrefix(item.Text(), "CAP_")
		if !slices.ContainsFunc(needed, func(n needs.Capability) bool { return n.Name == name }) {
			l.add(capUnneeded, item.Pos(), c.object(), "leave it out", "no step needs %s", item.Text())
		}
	}
}

// runsOthers reports whether a plan runs commands.
func runsOthers(p *plan.Plan) bool { return len(needs.Of(p).Executes) > 0 }

// volumes holds what is written and read against the volumes.
func (l *linter) volumes(c *container, n needs.Needs) {
	readOnlyRoot := c.node.Get("securityContext", "readOnlyRootFilesystem").Text() == "true"
	for t := range c.plan.Tasks() {
		one := needs.Of(&plan.Plan{Root: plan.Sequence{t}})
		secrets := manifest.Secrets(t)
		told := make(map[string]bool)
		for _, object := range one.Writes {
			name := path.Clean(strings.TrimSuffix(object, "/..."))
			m := c.mountOf(name)
			switch {
			case m == nil && (readOnlyRoot || slices.Contains(secrets, object)):
				l.add(pathUnmounted, c.at(t.Pos), c.object(), "mount a volume there", "%s writes %s, which lies in no volume", t.ID, name)
			case m == nil:
			case m.Get("readOnly").Text() == "true":
				l.add(pathUnmounted, m.Pos(), c.object(), "leave readOnly out", "%s writes %s, and the volume is mounted read-only", t.ID, name)
			case slices.Contains(secrets, object) && !told[m.Get("name").Text()]:
				told[m.Get("name").Text()] = true
				l.secretVolume(c, t, m, name)
			}
		}
		for _, object := range one.Reads {
			inImage := strings.HasPrefix(object, "/etc/ssl/") || strings.HasPrefix(object, serviceAccount)
			if path.IsAbs(object) && !inImage && c.mountOf(object) == nil && !writtenBefore(c, object) {
				l.add(pathUnmounted, c.at(t.Pos), c.object(), "mount the volume that holds it", "%s reads %s, which lies in no volume", t.ID, object)
			}
		}
		l.token(c, t)
	}
}

// writtenBefore reports whether a step of the container writes a path, or what holds it.
func writtenBefore(c *container, name string) bool {
	for _, object := range needs.Of(c.plan).Writes {
		tree := strings.TrimSuffix(object, "/...")
		if name == tree || strings.HasPrefix(name, tree+"/") {
			return true
		}
	}
	return false
}

// secretVolume checks that secrets go to a volume in memory, and that the application may read them there.
func (l *linter) secretVolume(c *container, t *plan.Task, m *document.Node, name string) {
	volume := c.pod.volume(m.Get("name").Text())
	switch {
	case volume == nil && !c.pod.whole():
		return // a patch; the volume is elsewhere
	case volume == nil, volume.Get("csi").Given():
	case volume.Get("emptyDir", "medium").Text() != "Memory":
		l.add(secretOnDisk, c.place(volume), c.object(), "write emptyDir: {medium: Memory} for the volume", "%s writes the secret %s to the volume %s, which is on a disk", t.ID, name, m.Get("name").Text())
	}
	mode := t.Options.Lookup("mode")
	if mode == nil || t.Options.Lookup("owner").Changed {
		return
	}
	if bits, err := strconv.ParseUint(mode.Value.String(), 8, 32); err != nil || mode.Changed && bits&0o044 != 0 {
		return
	}
	for _, other := range c.pod.own {
		if other.slipway || other.user() == c.user() || other.user() == "" || other.user() == "0" || c.user() == "" {
			continue
		}
		for _, theirs := range other.node.Get("volumeMounts").Items() {
			if theirs.Get("name").Text() == m.Get("name").Text() {
				l.add(secretUnreadable, c.at(t.Pos), c.object(), "run both as one user, or give the files' --mode 0440 and share the group by fsGroup",
					"%s is for user %s alone, and %s runs as %s", name, c.user(), other.name, other.user())
			}
		}
	}
}

// token checks which token Vault gets.
func (l *linter) token(c *container, t *plan.Task) {
	if t.Kind.Name != "vault-render" || given(t, "token-file") != "" {
		return
	}
	if auth := given(t, "auth"); auth != "" && auth != "kubernetes" && auth != "jwt" {
		return
	}
	file := given(t, "jwt-file")
	if file == "" {
		file = serviceAccount + "/token"
	}
	m := c.mountOf(file)
	if m == nil {
		if strings.HasPrefix(file, serviceAccount) && c.env("VAULT_TOKEN") == nil {
			l.add(tokenAudience, c.at(t.Pos), c.object(), "mount a projected serviceAccountToken with the audience that the role in Vault names",
				"%s logs in with the token that the API server takes", t.ID)
		}
		return
	}
	for _, source := range c.pod.volume(m.Get("name").Text()).Get("projected", "sources").Items() {
		if projected := source.Get("serviceAccountToken"); projected.Given() && projected.Get("audience").Text() == "" {
			l.add(tokenAudience, projected.Pos(), c.object(), "write audience: vault, and the same into the role in Vault", "%s logs in with a token that the API server takes", t.ID)
		}
	}
}

// variables checks that what options refer to is there.
func (l *linter) variables(c *container) {
	if c.node.Get("envFrom").Given() {
		return
	}
	for _, name := range manifest.References(slices.Collect(c.plan.Tasks())) {
		if c.env(name) == nil {
			l.add(variableUnset, c.node.Pos(), c.object(), "set it by valueFrom.secretKeyRef", "an option refers to the variable %s, which the container does not have", name)
		}
	}
}

// users holds the users that a redirect lets pass against those of the pod's containers.
func (l *linter) users(c *container) {
	for t := range c.plan.Tasks() {
		if !redirects(t) {
			continue
		}
		if c.pod.spec.Get("hostNetwork").Text() == "true" {
			l.add(redirectHost, c.pod.spec.Get("hostNetwork").Pos(), c.object(), "leave the pod out of the mesh, or hostNetwork out of the pod", "%s would redirect the node's connections", t.ID)
		}
		excluded := given(t, "exclude-uid")
		if excluded == "" {
			excluded = map[string]string{"istio": "1337", "linkerd": "2102"}[given(t, "preset")]
		}
		for _, other := range c.pod.own {
			if user := other.user(); !isProxy(other) && user != "" && inRanges(user, excluded) {
				l.add(uidClash, other.place(other.context("runAsUser")), other.object(), "run the application as another user than the mesh's proxy",
					"it runs as user %s, whose connections %s lets pass: they bypass the mesh", user, t.ID)
			}
		}
	}
}

// isProxy reports whether a container is a mesh's proxy: in older pods it is one of the pod's own containers.
func isProxy(c *container) bool {
	return slices.Contains([]string{"istio-proxy", "linkerd-proxy", "envoy", "kuma-sidecar"}, c.name)
}

// inRanges reports whether a number lies in a list such as 1337,2000-2010.
func inRanges(number, ranges string) bool {
	n, err := strconv.Atoi(number)
	for item := range strings.SplitSeq(ranges, ",") {
		low, high, ranged := strings.Cut(strings.TrimSpace(item), "-")
		if !ranged {
			high = low
		}
		from, e1 := strconv.Atoi(low)
		to, e2 := strconv.Atoi(high)
		if err == nil && e1 == nil && e2 == nil && from <= n && n <= to {
			return true
		}
	}
	return false
}

// replacement checks that an init container ends.
func (l *linter) replacement(c *container) {
	if !c.init || c.sidecar {
		return
	}
	for t := range c.plan.Tasks() {
		for _, e := range t.Effects {
			if e.Verb == step.Replace {
				l.add(replaceInit, c.at(t.Pos), c.object(), "let the application's own container begin with slipway: examples/entrypoint", "%s becomes %s, and the pod waits for its end", t.ID, e.Object)
			}
		}
	}
}

// afterRedirect checks a container that runs after one that has redirected the pod.
func (l *linter) afterRedirect(c, redirect *container) {
	if !c.init {
		return
	}
	for t := range c.plan.Tasks() {
		for _, e := range t.Effects {
			if e.Verb == step.Dial && !strings.HasPrefix(e.Object, "unix:") {
				l.add(redirectFirst, c.at(t.Pos), c.object(), "let the container with the redirect be the last one", "%s connects after the container %s has redirected the pod", t.ID, redirect.name)
				break
			}
		}
	}
}

// podSecurity checks the container against the levels of the Pod Security Standards. What its steps need is not held
// against it, unless the namespace says that it enforces a level. See
// https://kubernetes.io/docs/concepts/security/pod-security-standards/
func (l *linter) podSecurity(c *container, needed []needs.Capability) {
	level, enforced := l.level(c.pod)
	if c.node.Get("securityContext", "readOnlyRootFilesystem").Text() != "true" {
		l.add(writableRoot, c.place(c.node.Get("securityContext")), c.object(), "write readOnlyRootFilesystem: true; slipway writes to volumes alone", "the root file system can be written")
	}
	violated := func(n *document.Node, hint, format string, args ...any) {
		l.add(podSecurity, c.place(n), c.object(), hint, format, args...)
	}
	if level == "privileged" {
		return
	}
	own := c.node.Get("securityContext")
	if n := own.Get("privileged"); n.Text() == "true" {
		violated(n, "leave it out: no step needs it", "privileged violates %s", level)
	}
	for _, key := range []string{"hostNetwork", "hostPID", "hostIPC"} {
		if n := c.pod.spec.Get(key); n.Text() == "true" {
			violated(n, "leave it out", "%s violates %s", key, level)
		}
	}
	for _, m := range c.node.Get("volumeMounts").Items() {
		if volume := c.pod.volume(m.Get("name").Text()); volume.Get("hostPath").Given() && (enforced || !onNode(c.plan)) {
			violated(volume, "use another kind of volume", "the hostPath volume %s violates %s", m.Get("name").Text(), level)
		}
	}
	for _, capability := range needed {
		if enforced && (level == "restricted" || !baseline(capability.Name)) {
			l.add(podSecurityNeed, c.node.Pos(), c.object(), "put the pod into a namespace that enforces less, or leave the redirect to the mesh's CNI plugin",
				"%s needs %s, and the namespace %s enforces %s", capability.Why, capability.Name, c.pod.namespace, level)
		}
	}
	if level != "restricted" {
		return
	}
	if n := own.Get("allowPrivilegeEscalation"); n.Text() != "false" {
		violated(n, "write allowPrivilegeEscalation: false", "allowPrivilegeEscalation is not false")
	}
	if n := own.Get("capabilities", "drop"); !slices.Contains(n.Texts(), "ALL") {
		violated(n, "write capabilities: {drop: [ALL]}", "not all capabilities are dropped")
	}
	if kind := c.context("seccompProfile", "type"); c.known(kind) && kind.Text() != "RuntimeDefault" && kind.Text() != "Localhost" {
		violated(kind, "write seccompProfile: {type: RuntimeDefault}", "there is no seccomp profile")
	}
	if len(needed) > 0 || !enforced && onNode(c.plan) {
		return // root, as it must be
	}
	if n := c.context("runAsNonRoot"); c.known(n) && n.Text() != "true" {
		violated(n, "write runAsNonRoot: true", "runAsNonRoot is not true")
	}
	if n := c.context("runAsUser"); n.Text() == "0" {
		violated(n, "write runAsUser: 65532", "it runs as root, and no step needs that")
	}
}

// onNode reports whether a plan works on the node's own files, which are root's.
func onNode(p *plan.Plan) bool {
	if p == nil {
		return false
	}
	for t := range p.Tasks() {
		if slices.Contains([]string{"apparmor-load", "seccomp-install", "selinux-label"}, t.Kind.Name) {
			return true
		}
	}
	return false
}

// known reports whether a field of the security context can be judged: in a part of a pod what is not there may be the pod's.
func (c *container) known(n *document.Node) bool { return n.Given() || c.pod.whole() }

// baseline reports whether the level baseline allows a capability to be added.
func baseline(name string) bool {
	return slices.Contains([]string{
		"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
	}, name)
}

// level returns the Pod Security level of a pod, and whether its namespace enforces it.
func (l *linter) level(p *pod) (level string, enforced bool) {
	for _, object := range l.objects {
		if object.Get("kind").Text() != "Namespace" || object.Get("metadata", "name").Text() != p.namespace {
			continue
		}
		if text := object.Get("metadata", "labels", "pod-security.kubernetes.io/enforce").Text(); slices.Contains(Levels(), text) {
			return text, true
		}
	}
	return l.Level, false
}
