package servers

import (
	"encoding/json"
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// Identity stands in for the places where a pod on AWS gets its credentials. It gives out AccessKey, so that the S3 server
// beside it tells whether what a client made of them is right.
type Identity struct {
	URL   string
	Token string // the file of the pod's token, which the token services want to see

	asked atomic.Int64
}

// Asked returns how often credentials were given out.
func (i *Identity) Asked() int64 { return i.asked.Load() }

// StartIdentity starts a server, in this process, that speaks for EKS Pod Identity and ECS (/credentials), STS (/sts/) and
// the instance metadata service of version 2 (/latest/).
func StartIdentity(t testing.TB) *Identity {
	t.Helper()
	const token = "the pod's own token"
	i := &Identity{Token: filepath.Join(Dir(t), "token")}
	writeFile(t, i.Token, []byte(token), 0o644)
	expires := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)

	give := func(w http.ResponseWriter) {
		i.asked.Add(1)
		answerJSON(w, map[string]string{
			"Code": "Success", "AccessKeyId": AccessKey, "SecretAccessKey": SecretKey, "Token": "", "Expiration": expires,
		})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /credentials", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != token {
			http.Error(w, "the token is wrong", http.StatusUnauthorized)
			return
		}
		give(w)
	})
	mux.HandleFunc("POST /sts/", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("Action") != "AssumeRoleWithWebIdentity" || r.FormValue("WebIdentityToken") != token {
			http.Error(w, "<ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>no</Message></Error></ErrorResponse>", http.StatusBadRequest)
			return
		}
		type credentials struct {
			AccessKeyID     string `xml:"AccessKeyId"`
			SecretAccessKey string
			SessionToken    string
			Expiration      string
		}
		i.asked.Add(1)
		_ = xml.NewEncoder(w).Encode(struct {
			XMLName     xml.Name    `xml:"https://sts.amazonaws.com/doc/2011-06-15/ AssumeRoleWithWebIdentityResponse"`
			Credentials credentials `xml:"AssumeRoleWithWebIdentityResult>Credentials"`
		}{Credentials: credentials{AccessKey, SecretKey, "", expires}})
	})
	mux.HandleFunc("PUT /latest/api/token", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-aws-ec2-metadata-token-ttl-seconds", r.Header.Get("X-aws-ec2-metadata-token-ttl-seconds"))
		_, _ = w.Write([]byte("session"))
	})
	mux.HandleFunc("GET /latest/meta-data/iam/security-credentials/{role...}", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("X-aws-ec2-metadata-token") != "session":
			http.Error(w, "version 1 is turned off", http.StatusUnauthorized)
		case r.PathValue("role") == "":
			_, _ = w.Write([]byte("pod"))
		default:
			give(w)
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	i.URL = server.URL
	return i
}

func answerJSON(w http.ResponseWriter, answer any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}
