package lfs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
)

// Download writes an object to w and verifies its size and its SHA-256: what was written is right if there is no error.
func (s *Server) Download(ctx context.Context, source Source, w io.Writer) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, source.URL.String(), nil)
	if err != nil {
		return err
	}
	request.Header = source.Header.Clone()
	if s.Authorize != nil && request.Header.Get("Authorization") == "" && source.URL.Host == s.URL.Host && source.URL.Scheme == s.URL.Scheme {
		s.Authorize(request)
	}
	response, err := s.Client.Do(request)
	if err != nil {
		return httpx.Unanswered(request, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fault.New(kind(response.StatusCode), "git LFS object %s: %s answers %s", source.OID, source.URL.Host, response.Status)
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, sum), io.LimitReader(response.Body, source.Size+1))
	switch got := hex.EncodeToString(sum.Sum(nil)); {
	case err != nil && errors.Is(err, context.Cause(ctx)):
		return err
	case err != nil:
		return fmt.Errorf("git LFS object %s: %w", source.OID, err)
	case n < source.Size:
		return fmt.Errorf("git LFS object %s: %d bytes of %d came: %w", source.OID, n, source.Size, io.ErrUnexpectedEOF)
	case n > source.Size:
		return fault.New(fault.Data, "git LFS object %s: more than its %d bytes came", source.OID, source.Size)
	case got != source.OID:
		return fault.New(fault.Data, "git LFS object %s: what came has the SHA-256 %s", source.OID, got)
	}
	return nil
}
