package lint

import (
	"errors"
	"net/url"
	"strings"

	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/manifest/document"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/step"
)

// faults adds all that the parser says.
func (l *linter) faults(err error, object string, at func(plan.Pos) document.Pos) {
	if err == nil {
		return
	}
	var faults plan.Faults
	if !errors.As(err, &faults) {
		faults = plan.Faults{{Message: err.Error()}}
	}
	for _, f := range faults {
		l.add(planFault, at(f.Pos), object, f.Hint, "%s", f.Message)
	}
}

// plan checks what can be said of a plan without its pod.
func (l *linter) plan(p *plan.Plan, object string, at func(plan.Pos) document.Pos) {
	var redirect *plan.Task
	for t := range p.Tasks() {
		dials := false
		for _, e := range t.Effects {
			dials = dials || e.Verb == step.Dial && !strings.HasPrefix(e.Object, "unix:")
		}
		if dials && redirect != nil {
			l.add(redirectFirst, at(t.Pos), object, "write the redirect as the last step",
				"%s connects after %s has redirected the pod, and the proxy is not up before the application", t.ID, redirect.ID)
		}
		if redirects(t) {
			redirect = t
		}
		l.task(t, object, at(t.Pos))
	}
}

// redirects reports whether a task redirects the pod's outbound connections.
func redirects(t *plan.Task) bool {
	return t.Kind.Name == "iptables-redirect" && given(t, "remove") != "true" && (given(t, "preset") != "" || given(t, "outbound-port") != "")
}

// task checks one step.
func (l *linter) task(t *plan.Task, object string, pos document.Pos) {
	t.Options.VisitAll(func(flag *pflag.Flag) {
		if !flag.Changed {
			return
		}
		texts := []string{flag.Value.String()}
		if list, ok := flag.Value.(pflag.SliceValue); ok {
			texts = list.GetSlice()
		}
		for _, text := range texts {
			if u, err := url.Parse(text); err == nil && u.Host != "" {
				if _, password := u.User.Password(); password {
					l.add(secretInWords, pos, object, "give the password by an option that refers to a file or a variable", "%s: the URL of --%s holds a password", t.ID, flag.Name)
				}
			}
		}
		if flag.Name == "insecure-skip-tls-verify" && flag.Value.String() == "true" {
			l.add(unverified, pos, object, "give the authority by --ca-file", "%s takes any certificate", t.ID)
		}
	})
	switch t.Kind.Name {
	case "git-clone":
		if given(t, "expect-commit") == "" && !isCommit(given(t, "ref")) && given(t, "verify-signature") == "" {
			l.add(unpinnedRef, pos, object, "--expect-commit proves which commit it is, --verify-signature who signed it", "%s takes what %s is at the time", t.ID, refOf(t))
		}
	case "s3-fetch", "http-fetch":
		if given(t, "sha256") == "" && given(t, "sha256-file") == "" {
			l.add(unproven, pos, object, "--sha256 or --sha256-file proves what arrives", "%s proves no digest", t.ID)
		}
	}
}

// refOf names what git-clone takes.
func refOf(t *plan.Task) string {
	if ref := given(t, "ref"); ref != "" {
		return ref
	}
	return "the repository's HEAD"
}

// isCommit reports whether a ref is a full commit id.
func isCommit(ref string) bool {
	return (len(ref) == 40 || len(ref) == 64) && strings.Trim(ref, "0123456789abcdefABCDEF") == ""
}

// given returns an option that was given, as text.
func given(t *plan.Task, option string) string {
	if flag := t.Options.Lookup(option); flag != nil && flag.Changed {
		if list, ok := flag.Value.(pflag.SliceValue); ok {
			return strings.Join(list.GetSlice(), ",")
		}
		return flag.Value.String()
	}
	return ""
}
