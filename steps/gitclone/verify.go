package gitclone

import (
	"context"
	"fmt"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/object"
	"github.com/slipway-init/slipway/internal/git/signature"
	"github.com/slipway-init/slipway/internal/git/wire"
	"github.com/slipway-init/slipway/internal/httpx"
)

// verifySignature returns a Data fault unless the tag that was asked for, or the commit itself, is signed by somebody who is
// trusted. What is signed names all the rest by its id.
func (r *repository) verifySignature(ctx context.Context, tip wire.Ref, commit object.ID) error {
	if len(r.verify) == 0 {
		return nil
	}
	var keys signature.Keys
	for _, file := range r.verify {
		text, err := httpx.ReadFile(r.env, file)
		if err != nil {
			return err
		}
		if err := keys.Add(text); err != nil {
			return fmt.Errorf("read %s: %w", file, err)
		}
	}
	objects := r.packs.NewReader(ctx)
	defer objects.Close()
	var refused error
	for _, id := range []object.ID{tip.ID, commit} {
		o, err := objects.Object(id)
		if err != nil {
			return err
		}
		content, err := o.Bytes(maxObject)
		if err != nil {
			return err
		}
		signed, err := signedPart(o.Type, content, tip.Name)
		if err != nil {
			return err
		}
		who, err := keys.Verify(signed)
		if err == nil {
			r.env.Output("signer", who)
			return nil
		}
		if refused == nil {
			refused = fmt.Errorf("the %s %s: %w", o.Type, id, err)
		}
	}
	return fault.Hint(refused, "--verify-signature asks for a signature; look at who made it: git verify-commit, git verify-tag")
}

// signedPart returns the signature of a commit or a tag. A tag that is signed says its own name: another tag's object under
// this name would be an older release passed off as this one.
func signedPart(t object.Type, content []byte, name string) (object.Signed, error) {
	if t != object.Tag {
		c, err := object.ParseCommit(content)
		return c.Signed, err
	}
	tag, err := object.ParseTag(content)
	if err != nil {
		return object.Signed{}, err
	}
	if name != "" && name != tags+tag.Name {
		return object.Signed{}, fault.New(fault.Data, "%s holds a tag that calls itself %q", name, tag.Name)
	}
	return tag.Signed, nil
}
