package servers

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// LFS is a stand-in for the LFS part of a forge: the batch API over files in a folder, with basic auth, for repositories
// that git http-backend serves beside it. It is no product; what it must do right is seen by git-lfs itself, which pushes to
// it in the tests.
type LFS struct {
	URL     string
	Objects string // the folder of the objects, by their SHA-256
}

// StartLFS starts the stand-in. All else than LFS it passes on to backend.
func StartLFS(t testing.TB, user, password string, backend http.Handler) *LFS {
	t.Helper()
	l := &LFS{Objects: Dir(t)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{name}/info/lfs/objects/batch", l.batch)
	mux.HandleFunc("GET /objects/{oid}", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join(l.Objects, filepath.Base(r.PathValue("oid"))))
	})
	mux.HandleFunc("PUT /objects/{oid}", l.put)
	mux.Handle("/", backend)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, _ := r.BasicAuth(); u != user || p != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	l.URL = server.URL
	return l
}

// batch answers where objects are, or are to go.
func (l *LFS) batch(w http.ResponseWriter, r *http.Request) {
	type object struct {
		OID     string         `json:"oid"`
		Size    int64          `json:"size"`
		Actions map[string]any `json:"actions,omitempty"`
		Error   map[string]any `json:"error,omitempty"`
	}
	var body struct {
		Operation string   `json:"operation"`
		Objects   []object `json:"objects"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		w.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	for i := range body.Objects {
		o := &body.Objects[i]
		_, err := os.Stat(filepath.Join(l.Objects, filepath.Base(o.OID)))
		href := map[string]any{"href": "http://" + r.Host + "/objects/" + o.OID}
		switch {
		case body.Operation == "upload" && err != nil:
			o.Actions = map[string]any{"upload": href}
		case body.Operation == "download" && err == nil:
			o.Actions = map[string]any{"download": href}
		case body.Operation == "download":
			o.Error = map[string]any{"code": 404, "message": "no such object"}
		}
	}
	w.Header().Set("Content-Type", "application/vnd.git-lfs+json")
	_ = json.NewEncoder(w).Encode(map[string]any{"transfer": "basic", "objects": body.Objects})
}

// put keeps an object, if it is what its name says.
func (l *LFS) put(w http.ResponseWriter, r *http.Request) {
	content, err := io.ReadAll(r.Body)
	if err != nil || fmt.Sprintf("%x", sha256.Sum256(content)) != r.PathValue("oid") {
		w.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	if os.WriteFile(filepath.Join(l.Objects, filepath.Base(r.PathValue("oid"))), content, 0o644) != nil {
		w.WriteHeader(http.StatusInsufficientStorage)
	}
}
