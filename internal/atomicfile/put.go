package atomicfile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/opt"
)

// Effects returns what a step touches that writes one file. Its error is a usage fault, for a path that cannot be one,
// and names the option that gave it.
func Effects(option, path string, owner opt.Owner) ([]step.Effect, error) {
	if path == "" {
		return nil, fault.New(fault.Usage, "no %s is given", option)
	}
	if strings.ContainsRune(path, 0) {
		return nil, fault.New(fault.Usage, "%s %q has a zero byte", option, path)
	}
	object := filepath.Clean(path)
	effects := []step.Effect{{Verb: step.Write, Object: object}}
	if owner.Given() {
		effects = append(effects, step.Effect{Verb: step.Own, Object: object})
	}
	return effects, nil
}

// Put writes content as Write does, for a step whose work that is, and tells the env of it: the size as bytes, the
// digest as sha256, and whether all was right already. The digest of a short secret gives it away, so a file that its
// mode keeps from others has none.
func Put(ctx context.Context, env *step.Env, path string, content []byte, a Attributes) error {
	changed, err := Write(ctx, env, path, bytes.NewReader(content), a)
	if err != nil {
		return err
	}
	env.Output("bytes", strconv.Itoa(len(content)))
	if a.Mode.Bits()&0o004 != 0 {
		digest := sha256.Sum256(content)
		env.Output("sha256", hex.EncodeToString(digest[:]))
	}
	if !changed {
		env.Output(step.Skipped, "unchanged")
	}
	return nil
}
