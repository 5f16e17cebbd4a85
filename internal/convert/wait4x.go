package convert

import (
	"net/url"
	"strings"
)

var wait4xGrammar = grammar{
	short: map[string]string{"t": "timeout", "i": "interval", "v": "invert-check", "q": "quiet"},
	bools: []string{"invert-check", "quiet", "no-color", "insecure-skip-tls-verify", "no-redirect"},
}

// wait4x converts a wait4x command: a protocol, addresses and flags.
func (c *converter) wait4x(words []word) {
	flags, rest, after := wait4xGrammar.read(words)
	if len(rest) < 2 {
		c.note(place(words), "wait4x: no protocol and address")
		return
	}
	pos := place(words)
	protocol := rest[0].text
	step := []string{"wait-for"}
	rest = rest[1:]
	if protocol == "dns" {
		if kind := strings.ToUpper(rest[0].text); kind != "A" && kind != "AAAA" {
			c.note(pos, "wait4x dns %s: records other than addresses are not looked at", rest[0].text)
			return
		}
		rest = rest[1:]
	}
	var targets []string
	for _, w := range rest {
		target, why := wait4xTarget(protocol, w.text)
		if why != "" {
			c.note(w.pos, "wait4x %s: %s", protocol, why)
			return
		}
		targets = append(targets, "--target="+target)
	}
	step = append(step, targets...)
	timeout := "10s" // wait4x's own
	for _, f := range flags {
		switch f.name {
		case "timeout":
			timeout = f.value
		case "interval":
			step = append(step, "--interval="+f.value)
		case "invert-check":
			if f.value != "false" {
				step = append(step, "--not")
			}
		case "expect-status-code":
			step = append(step, "--status="+f.value)
		case "expect-body-regex":
			step = append(step, "--body-regex="+f.value)
		case "request-header":
			step = append(step, "--header="+f.value)
		case "insecure-skip-tls-verify":
			step = append(step, "--insecure-skip-tls-verify")
		case "no-redirect":
			step = append(step, "--no-redirect")
		case "connection-timeout":
			step = append(step, "--look-timeout="+f.value)
		case "ca-file", "cert-file", "key-file":
			step = append(step, "--"+f.name+"="+f.value)
		case "quiet", "no-color", "log-level":
			// slipway's logs are its own
		default:
			c.note(f.pos, "wait4x --%s %s: nothing is made of it", f.name, f.value)
		}
	}
	if !strings.Contains(strings.Join(step, " "), "--status=") && protocol == "http" {
		step = append(step, "--status=100-599") // wait4x takes any answer
	}
	c.step(pos, append(step, "--timeout="+timeout)...)
	if len(after) > 0 {
		c.note(after[0].pos, "wait4x runs %q then: keep it as the application's command, or add exec", shorten(after[0].text))
	}
}

// wait4xTarget returns a target of wait-for, or why there is none.
func wait4xTarget(protocol, address string) (target, why string) {
	switch protocol {
	case "tcp":
		return "tcp://" + address, ""
	case "dns":
		return "dns://" + address, ""
	case "http":
		return address, ""
	case "postgresql", "redis":
		u, err := url.Parse(address)
		if err != nil || u.Host == "" {
			return "", "the address cannot be read"
		}
		if _, password := u.User.Password(); password {
			return "", "the address holds a password, which is not carried over: write wait-for " + u.Scheme + "://" + u.Host + " --username --password-from"
		}
		return address, ""
	}
	return "", "wait-for does not know the protocol; tcp:// sees whether it listens"
}
