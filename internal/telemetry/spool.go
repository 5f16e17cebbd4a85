package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

const (
	maxSpool     = 16 << 20 // bytes of all files together; the oldest go first
	maxSpoolFile = 4 << 20  // bytes of one; a larger one is not ours
	spoolSuffix  = ".otlp"
	tempPrefix   = ".otlp-" // of a file that is being written
)

// spool is a folder of spans that could not be sent. Each file is an ExportTraceServiceRequest in protobuf, the body of
// a POST to /v1/traces, and is named after the time at which it was written.
type spool struct{ folder string } // empty is none

// keep writes spans as one file, whole or not at all, and returns its name.
func (s spool) keep(spans []*tracepb.ResourceSpans) (string, error) {
	content, err := proto.Marshal(&coltracepb.ExportTraceServiceRequest{ResourceSpans: spans})
	if err != nil {
		return "", fmt.Errorf("encode spans: %w", err)
	}
	if err := os.MkdirAll(s.folder, 0o700); err != nil {
		return "", err
	}
	name := filepath.Join(s.folder, fmt.Sprintf("%020d-%d%s", time.Now().UnixNano(), os.Getpid(), spoolSuffix))
	if err := s.write(name, content); err != nil {
		return "", fmt.Errorf("write %s: %w", name, err)
	}
	return name, s.prune()
}

// write writes content beside name, syncs it and gives it its name.
func (s spool) write(name string, content []byte) (err error) {
	file, err := os.CreateTemp(s.folder, tempPrefix)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	_, err = file.Write(content)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), name)
}

// prune removes the oldest files until the others are within the bound, and what a run that was killed left half
// written.
func (s spool) prune() error {
	entries, err := os.ReadDir(s.folder)
	if err != nil {
		return err
	}
	var total int64
	var faults []error
	for i := len(entries) - 1; i >= 0; i-- { // the newest first: names sort by time
		info, err := entries[i].Info()
		if err != nil || !info.Mode().IsRegular() {
			continue // removed by another run meanwhile, or not ours
		}
		stale := strings.HasPrefix(info.Name(), tempPrefix) && time.Since(info.ModTime()) > time.Minute
		if strings.HasSuffix(info.Name(), spoolSuffix) {
			total += info.Size()
			stale = total > maxSpool
		}
		if stale {
			faults = append(faults, s.remove(info.Name()))
		}
	}
	return errors.Join(faults...)
}

// remove removes a file that another run may have removed already.
func (s spool) remove(name string) error {
	if err := os.Remove(filepath.Join(s.folder, name)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// replay sends what earlier runs have kept, the oldest first, and removes each file that was sent, or can never be. Two
// runs never replay the same folder at once. It stops at the first file that the collector does not take now.
func (s spool) replay(ctx context.Context, log *slog.Logger, send func(context.Context, []*tracepb.ResourceSpans) error) {
	if s.folder == "" {
		return
	}
	folder, err := os.Open(s.folder)
	if err != nil {
		return // nothing was kept yet
	}
	defer folder.Close()
	if syscall.Flock(int(folder.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return // another run is at it
	}
	entries, err := os.ReadDir(s.folder)
	if err != nil {
		log.Debug("the spool cannot be read", "error", err)
		return
	}
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), spoolSuffix) || !entry.Type().IsRegular() {
			continue
		}
		spans, err := s.read(entry.Name())
		if _, ok := errors.AsType[*fs.PathError](err); ok {
			log.Debug("spooled spans cannot be read", "error", err)
			continue // gone meanwhile, or another user's
		}
		if err == nil {
			err = send(ctx, spans)
			if err != nil && !partly(err) && !refused(err) {
				log.Debug("the spool was not sent", "file", entry.Name(), "error", err)
				return
			}
		}
		if err != nil {
			log.Debug("spooled spans were dropped", "file", entry.Name(), "error", err)
		}
		if err := s.remove(entry.Name()); err != nil {
			log.Debug("the spool cannot be emptied", "error", err)
			return
		}
	}
}

// read returns the spans of a file.
func (s spool) read(name string) ([]*tracepb.ResourceSpans, error) {
	path := filepath.Join(s.folder, name)
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxSpoolFile+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxSpoolFile {
		return nil, fmt.Errorf("%s: larger than %d bytes", path, maxSpoolFile)
	}
	var request coltracepb.ExportTraceServiceRequest
	if err := proto.Unmarshal(content, &request); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return request.GetResourceSpans(), nil
}
