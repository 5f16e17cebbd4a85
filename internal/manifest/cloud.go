package manifest

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"text/template/parse"

	"github.com/slipway-init/slipway/internal/manifest/document"
	"github.com/slipway-init/slipway/internal/plan"
)

// vaultPolicy returns a ConfigMap with the policy that the steps' secrets need. What templates in files read is not known
// here, and said.
func (b *builder) vaultPolicy() document.Value {
	var rules, missing []string
	for t := range b.plan.Tasks() {
		if t.Kind.Name != "vault-render" {
			continue
		}
		paths := values(t, "secret")
		for _, template := range values(t, "template") {
			if value(t, "inline") == "true" {
				paths = append(paths, secretsOf(template)...)
				continue
			}
			name, _, _ := strings.Cut(template, "=")
			missing = append(missing, line("# add what the template %s reads", name))
		}
		for _, path := range paths {
			rules = append(rules, rulesOfSecret(path)...)
		}
	}
	slices.Sort(rules)
	rules = slices.Compact(rules)
	text := strings.Join(append(missing, rules...), "\n") + "\n"
	if len(rules) == 0 && len(missing) == 0 {
		text = "# no step reads a secret of Vault\n"
	}
	object := b.object("v1", "ConfigMap", b.Name+"-vault-policy")
	object.Set("data", document.Map("policy.hcl", document.Block(text)))
	return object.Comment(line("for Vault: vault policy write %s policy.hcl", b.Name))
}

// rulesOfSecret returns the policy's lines for a path of which nobody here knows the engine: a key-value engine of version 2
// has its data below data/, all else is read as it is written.
func rulesOfSecret(path string) []string {
	path = strings.Trim(path, "/")
	rule := func(path string) string {
		quoted, _ := json.Marshal(path)
		return "path " + string(quoted) + ` { capabilities = ["read"] }`
	}
	mount, rest, ok := strings.Cut(path, "/")
	if !ok || strings.HasPrefix(rest, "data/") {
		return []string{rule(path)}
	}
	return []string{rule(path), rule(mount + "/data/" + rest)}
}

// secretsOf returns the paths that an inline template reads by name.
func secretsOf(text string) []string {
	tree := parse.New("inline")
	tree.Mode = parse.SkipFuncCheck
	if _, err := tree.Parse(text, "", "", make(map[string]*parse.Tree)); err != nil {
		return nil // the step has refused it before
	}
	var paths []string
	var visit func(n parse.Node)
	list := func(l *parse.ListNode) {
		if l != nil {
			for _, n := range l.Nodes {
				visit(n)
			}
		}
	}
	pipe := func(p *parse.PipeNode) {
		if p == nil {
			return
		}
		for _, c := range p.Cmds {
			if name, ok := c.Args[0].(*parse.IdentifierNode); ok && slices.Contains([]string{"secret", "secrets", "pkiCert"}, name.Ident) && len(c.Args) > 1 {
				if path, ok := c.Args[1].(*parse.StringNode); ok {
					bare, _, _ := strings.Cut(path.Text, "?")
					paths = append(paths, bare)
				}
			}
			for _, arg := range c.Args {
				visit(arg)
			}
		}
	}
	visit = func(n parse.Node) {
		switch n := n.(type) {
		case *parse.ActionNode:
			pipe(n.Pipe)
		case *parse.PipeNode:
			pipe(n)
		case *parse.ChainNode:
			visit(n.Node)
		case *parse.IfNode:
			pipe(n.Pipe)
			list(n.List)
			list(n.ElseList)
		case *parse.RangeNode:
			pipe(n.Pipe)
			list(n.List)
			list(n.ElseList)
		case *parse.WithNode:
			pipe(n.Pipe)
			list(n.List)
			list(n.ElseList)
		}
	}
	list(tree.Root)
	return paths
}

// statement is one of an IAM policy.
type statement struct {
	Effect    string
	Action    []string
	Resource  []string
	Condition map[string]map[string][]string `json:",omitempty"`
}

// iamPolicy returns a ConfigMap with the policy that the steps' objects of S3 need.
func (b *builder) iamPolicy() document.Value {
	policy := struct {
		Version   string
		Statement []statement
	}{"2012-10-17", []statement{}}
	for t := range b.plan.Tasks() {
		if t.Kind.Name == "s3-fetch" {
			policy.Statement = append(policy.Statement, statements(t)...)
		}
	}
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(policy) // of strings
	object := b.object("v1", "ConfigMap", b.Name+"-iam-policy")
	object.Set("data", document.Map("policy.json", document.Block(text.String())))
	return object.Comment("for AWS: the policy of the role that the pod's service account assumes, by EKS Pod Identity or by IRSA")
}

// statements returns what one fetch needs.
func statements(t *plan.Task) []statement {
	u, err := url.Parse(value(t, "url"))
	if err != nil || u.Scheme != "s3" {
		return nil
	}
	bucket, key := "arn:aws:s3:::"+u.Host, strings.TrimPrefix(u.Path, "/")
	get := []string{"s3:GetObject"}
	if value(t, "version-id") != "" || u.Query().Has("versionId") {
		get = []string{"s3:GetObjectVersion"}
	}
	// The keys of a policy's resource are patterns; there is no way to take a star of a name as it is.
	if key != "" && !strings.HasSuffix(key, "/") {
		return []statement{{Effect: "Allow", Action: get, Resource: []string{bucket + "/" + key}}}
	}
	list := statement{Effect: "Allow", Action: []string{"s3:ListBucket"}, Resource: []string{bucket}}
	if key != "" {
		list.Condition = map[string]map[string][]string{"StringLike": {"s3:prefix": {key + "*"}}}
	}
	return []statement{{Effect: "Allow", Action: get, Resource: []string{bucket + "/" + key + "*"}}, list}
}
