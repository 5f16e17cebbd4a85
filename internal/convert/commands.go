package convert

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// The options of the programs that are known. What is not here makes a command one that is not carried over.
var (
	netcat = grammar{short: map[string]string{"z": "z", "v": "v", "n": "n", "w": "w", "4": "4", "6": "6"}, bools: []string{"z", "v", "n", "4", "6"}}
	curl   = grammar{
		short: map[string]string{
			"f": "fail", "s": "silent", "S": "show-error", "L": "location", "k": "insecure", "o": "output", "I": "head", "X": "request", "H": "header",
			"m": "max-time", "v": "verbose",
		},
		bools: []string{"fail", "silent", "show-error", "location", "insecure", "head", "verbose"},
	}
	wget = grammar{
		short: map[string]string{"q": "quiet", "O": "output-document", "T": "timeout", "t": "tries", "S": "server-response"},
		bools: []string{"quiet", "spider", "no-check-certificate", "server-response", "no-verbose"},
	}
	pgIsReady  = grammar{short: map[string]string{"h": "host", "p": "port", "U": "username", "d": "dbname", "t": "timeout", "q": "quiet"}, bools: []string{"quiet"}}
	mysqladmin = grammar{short: map[string]string{"h": "host", "P": "port", "s": "silent"}, bools: []string{"silent"}}
	redisCLI   = grammar{short: map[string]string{"h": "h", "p": "p"}}
	files      = grammar{short: map[string]string{"p": "parents", "m": "mode", "R": "recursive", "v": "verbose", "f": "silent"}, bools: []string{"parents", "recursive", "verbose", "silent"}}
	gitClone   = grammar{
		short: map[string]string{"b": "branch", "q": "quiet"},
		bools: []string{"quiet", "single-branch", "recurse-submodules", "recursive", "no-tags"},
	}
)

// only reports whether all flags are of the names.
func only(flags []flag, names ...string) bool {
	return !slices.ContainsFunc(flags, func(f flag) bool { return !slices.Contains(names, f.name) })
}

// valueOf returns the value of a flag, "" if it was not given.
func valueOf(flags []flag, name string) string {
	for _, f := range flags {
		if f.name == name {
			return f.value
		}
	}
	return ""
}

// wait converts the command that a loop waits for, and reports whether it did.
func (c *converter) wait(words []word) bool {
	step := c.target(words)
	if step == nil {
		c.note(place(words), "waiting for %q is not carried over", spell(words))
		return false
	}
	return c.step(place(words), append([]string{"wait-for"}, step...)...)
}

// target returns the target and options of wait-for that a command stands for, nil if that is not known.
func (c *converter) target(words []word) []string {
	if len(words) == 0 || slices.ContainsFunc(words, func(w word) bool { return w.dynamic }) {
		return nil
	}
	args := words[1:]
	switch path.Base(words[0].text) {
	case "nc", "ncat", "netcat":
		flags, rest, _ := netcat.read(args)
		if len(rest) == 2 && valueOf(flags, "z") != "" && only(flags, "z", "v", "n", "w", "4", "6") {
			return []string{"--target=tcp://" + host(rest[0].text) + ":" + rest[1].text}
		}
	case "curl":
		return curlTarget(args)
	case "wget":
		flags, rest, _ := wget.read(args)
		output := valueOf(flags, "output-document")
		if len(rest) == 1 && only(flags, "quiet", "spider", "timeout", "tries", "no-check-certificate", "server-response", "no-verbose", "output-document") &&
			(output == "" && valueOf(flags, "spider") != "" || output == "-" || output == "/dev/null") {
			return append([]string{"--target=" + address(rest[0].text)}, web(flags, "no-check-certificate", "timeout")...)
		}
	case "pg_isready":
		flags, rest, _ := pgIsReady.read(args)
		if len(rest) == 0 && only(flags, "host", "port", "username", "dbname", "timeout", "quiet") && valueOf(flags, "host") != "" {
			// It asks without logging in: any answer of the server is enough.
			return []string{"--target=postgres://" + host(valueOf(flags, "host")) + port(valueOf(flags, "port"))}
		}
	case "mysqladmin":
		flags, rest, _ := mysqladmin.read(args)
		if len(rest) == 1 && rest[0].text == "ping" && only(flags, "host", "port", "silent") && valueOf(flags, "host") != "" {
			return []string{"--target=mysql://" + host(valueOf(flags, "host")) + port(valueOf(flags, "port"))}
		}
	case "redis-cli":
		flags, rest, _ := redisCLI.read(args)
		if len(rest) == 1 && strings.EqualFold(rest[0].text, "ping") && only(flags, "h", "p") && valueOf(flags, "h") != "" {
			return []string{"--target=redis://" + host(valueOf(flags, "h")) + port(valueOf(flags, "p"))}
		}
	case "nslookup", "host":
		if len(args) == 1 && !strings.HasPrefix(args[0].text, "-") {
			return []string{"--target=dns://" + args[0].text}
		}
	case "getent":
		if len(args) == 2 && (args[0].text == "hosts" || args[0].text == "ahosts") {
			return []string{"--target=dns://" + args[1].text}
		}
	case "test", "[":
		if words[0].text == "[" && len(args) > 0 && args[len(args)-1].text == "]" {
			args = args[:len(args)-1]
		}
		if len(args) == 2 && path.IsAbs(args[1].text) {
			switch args[0].text {
			case "-f", "-e":
				return []string{"--target=file://" + args[1].text}
			case "-s":
				return []string{"--target=file://" + args[1].text, "--not-empty"}
			case "-S":
				return []string{"--target=unix://" + args[1].text}
			}
		}
	}
	return nil
}

// curlTarget returns what a curl command stands for. Without --fail any answer is enough, with it one below 400.
func curlTarget(args []word) []string {
	flags, rest, _ := curl.read(args)
	if output := valueOf(flags, "output"); len(rest) != 1 || output != "" && output != "/dev/null" ||
		!only(flags, "fail", "silent", "show-error", "location", "insecure", "output", "head", "request", "header", "max-time", "connect-timeout", "cacert", "verbose") {
		return nil
	}
	step := []string{"--target=" + address(rest[0].text), "--status=200-399"}
	if valueOf(flags, "fail") == "" {
		step[1] = "--status=100-599"
	}
	if valueOf(flags, "location") == "" {
		step = append(step, "--no-redirect")
	}
	if valueOf(flags, "head") != "" {
		step = append(step, "--method=HEAD")
	}
	if method := valueOf(flags, "request"); method != "" {
		step = append(step, "--method="+method)
	}
	for _, f := range flags {
		if f.name == "header" {
			step = append(step, "--header="+f.value)
		}
	}
	if file := valueOf(flags, "cacert"); file != "" {
		step = append(step, "--ca-file="+file)
	}
	return append(step, web(flags, "insecure", "max-time")...)
}

// web returns the options that curl and wget have in common.
func web(flags []flag, insecure, timeout string) []string {
	var step []string
	if valueOf(flags, insecure) != "" {
		step = append(step, "--insecure-skip-tls-verify")
	}
	if seconds, err := strconv.Atoi(valueOf(flags, timeout)); err == nil && seconds > 0 {
		step = append(step, "--look-timeout="+strconv.Itoa(seconds)+"s")
	}
	return step
}

// address returns a URL as curl and wget read it: without a scheme it is HTTP.
func address(text string) string {
	if strings.Contains(text, "://") {
		return text
	}
	return "http://" + text
}

// host returns a host as it stands in a URL.
func host(text string) string {
	if strings.Contains(text, ":") && !strings.HasPrefix(text, "[") {
		return "[" + text + "]"
	}
	return text
}

// port returns ":port", "" for none.
func port(text string) string {
	if text == "" {
		return ""
	}
	return ":" + text
}

// simple converts one plain command.
func (c *converter) simple(words []word) {
	if len(words) == 0 {
		return
	}
	pos := words[0].pos
	for _, w := range words {
		if w.dynamic {
			c.note(pos, "%q: what %q says is known only when it runs", spell(words), shorten(w.text))
			return
		}
	}
	name, args := path.Base(words[0].text), words[1:]
	switch name {
	case "set", "true", ":":
		return // how a shell runs, and nothing that it does
	case "mkdir", "chown", "chmod", "touch":
		c.file(name, args)
		return
	case "sleep":
		c.note(pos, "%q is left out: wait for what it gives time to", spell(words))
		return
	case "echo", "printf":
		c.note(pos, "%q is left out: slipway logs what it does", spell(words))
		return
	case "git":
		c.git(args)
		return
	case "curl", "wget":
		c.fetch(name, args)
		return
	case "aws":
		c.s3(words, args)
		return
	case "wait4x":
		c.wait4x(args)
		return
	}
	if c.target(words) != nil {
		c.note(pos, "%q looks once and goes on or fails; wait-for waits: write it where that is meant", spell(words))
		return
	}
	c.note(pos, "%q is not known: keep it, or run it by exec", spell(words))
}

// file converts mkdir, chown, chmod and touch.
func (c *converter) file(name string, args []word) {
	pos := place(args)
	flags, rest, after := files.read(args)
	rest = append(rest, after...)
	step := []string{name}
	first := map[string]string{"chown": "owner", "chmod": "mode"}[name]
	for _, f := range flags {
		switch {
		case f.name == "verbose" || f.name == "silent":
		case f.name == "parents" && name == "mkdir":
		case f.name == "mode" && name == "mkdir":
			step = append(step, "--mode="+f.value)
		case f.name == "recursive" && first != "":
			step = append(step, "--recursive")
		default:
			c.note(f.pos, "%s: the option %s is not known", name, f.name)
			return
		}
	}
	if first != "" && len(rest) > 0 {
		step = append(step, "--"+first+"="+rest[0].text)
		rest = rest[1:]
	}
	if len(rest) == 0 {
		c.note(pos, "%s: no path", name)
		return
	}
	for _, w := range rest {
		if strings.ContainsAny(w.text, ",\"\n\r") || !path.IsAbs(w.text) {
			c.note(w.pos, "%s: %q is no absolute path without commas and quotes", name, shorten(w.text))
			return
		}
		step = append(step, "--path="+w.text)
	}
	if name == "mkdir" && valueOf(flags, "parents") == "" {
		c.note(pos, "mkdir fails where the directory is there already or its parents are not; slipway's makes what is missing")
	}
	c.step(pos, step...)
}

// git converts "git clone".
func (c *converter) git(args []word) {
	pos := place(args)
	if len(args) == 0 || args[0].text != "clone" {
		c.note(pos, "git %s: only git clone is carried over", spell(args))
		return
	}
	flags, rest, _ := gitClone.read(args[1:])
	if len(rest) != 2 || !only(flags, "depth", "branch", "quiet", "single-branch", "recurse-submodules", "recursive", "no-tags") {
		c.note(pos, "git %s: a URL, a directory and the usual options are carried over", spell(args))
		return
	}
	step := []string{"git-clone", "--url=" + rest[0].text, "--dir=" + rest[1].text}
	if ref := valueOf(flags, "branch"); ref != "" {
		step = append(step, "--ref="+ref)
	}
	if valueOf(flags, "recurse-submodules") != "" || valueOf(flags, "recursive") != "" {
		step = append(step, "--submodules")
	}
	if c.step(pos, step...) {
		c.note(pos, "git clone leaves .git in the directory; --keep-git does, too")
	}
}

// fetch converts a download to a file.
func (c *converter) fetch(name string, args []word) {
	pos := place(args)
	g, output, allowed := curl, "output", []string{"fail", "silent", "show-error", "location", "insecure", "output", "verbose"}
	if name == "wget" {
		g, output, allowed = wget, "output-document", []string{"quiet", "output-document", "no-check-certificate", "no-verbose"}
	}
	flags, rest, _ := g.read(args)
	dest := valueOf(flags, output)
	if len(rest) != 1 || !path.IsAbs(dest) || dest == "/dev/null" || !only(flags, allowed...) {
		c.note(pos, "%s %s: a download of one URL to an absolute path is carried over", name, spell(args))
		return
	}
	step := []string{"http-fetch", "--url=" + address(rest[0].text), "--dest=" + dest}
	if valueOf(flags, "insecure") != "" || valueOf(flags, "no-check-certificate") != "" {
		step = append(step, "--insecure-skip-tls-verify")
	}
	if c.step(pos, step...) {
		c.note(pos, "%s proves nothing of what arrives: give --sha256", name)
	}
}

// s3 converts "aws s3 cp" and "aws s3 sync" from a bucket.
func (c *converter) s3(words, args []word) {
	g := grammar{bools: []string{"recursive", "no-sign-request", "quiet", "no-progress", "only-show-errors"}}
	flags, rest, _ := g.read(args)
	known := len(rest) == 4 && rest[0].text == "s3" && (rest[1].text == "cp" || rest[1].text == "sync") && strings.HasPrefix(rest[2].text, "s3://") && path.IsAbs(rest[3].text) &&
		only(flags, "recursive", "no-sign-request", "quiet", "no-progress", "only-show-errors", "region", "endpoint-url")
	if !known {
		c.note(place(words), "%q: aws s3 cp and sync from a bucket to an absolute path are carried over", spell(words))
		return
	}
	source := rest[2].text
	if rest[1].text == "sync" || valueOf(flags, "recursive") != "" {
		source = strings.TrimSuffix(source, "/") + "/"
	}
	step := []string{"s3-fetch", "--url=" + source, "--dest=" + rest[3].text}
	for _, f := range flags {
		switch f.name {
		case "region", "endpoint-url":
			step = append(step, "--"+f.name+"="+f.value)
		case "no-sign-request":
			step = append(step, "--no-sign-request")
		}
	}
	c.step(place(words), step...)
}
