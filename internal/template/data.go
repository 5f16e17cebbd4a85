package template

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"regexp"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"go.yaml.in/yaml/v4"

	"github.com/slipway-init/slipway/internal/fault"
)

// toJSON leaves <, > and & as they are: the file is not a page.
func toJSON(value any) (string, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return "", fault.New(fault.Data, "a value of type %T cannot be JSON", value)
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

func fromJSON(s string) (any, error) {
	value, err := decodeJSON(s)
	return numbered(value), err
}

// decodeJSON leaves numbers as they are written.
func decodeJSON(s string) (any, error) {
	if err := parsable(s); err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(strings.NewReader(s))
	decoder.UseNumber()
	var value any
	err := decoder.Decode(&value)
	if err == nil {
		if _, more := decoder.Token(); more != io.EOF {
			return nil, fault.New(fault.Data, "there is more behind the JSON value")
		}
		return value, nil
	}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return nil, fault.New(fault.Data, "it is not JSON at byte %d", syntax.Offset)
	}
	return nil, fault.New(fault.Data, "it is not JSON: it ends too early")
}

// numbered turns JSON's numbers into int where they are whole, so that 1000000 is not printed as 1e+06 and can be
// compared, and else into float64. A whole number that is too large stays as it is written.
func numbered(value any) any {
	switch v := value.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return int(n)
		}
		if f, err := v.Float64(); err == nil && strings.ContainsAny(v.String(), ".eE") {
			return f
		}
	case []any:
		for i := range v {
			v[i] = numbered(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = numbered(v[key])
		}
	}
	return value
}

func toYAML(value any) (string, error) {
	out, err := yaml.Dump(value, yaml.WithIndent(2))
	if err != nil {
		return "", fault.New(fault.Data, "a value of type %T cannot be YAML", value)
	}
	return strings.TrimSuffix(string(out), "\n"), nil
}

// place is how the YAML parser says where a fault is. What else it says may cite the text.
var place = regexp.MustCompile(`\b(?:L|line )([0-9]+)\b`)

func fromYAML(s string) (any, error) {
	if err := parsable(s); err != nil {
		return nil, err
	}
	// The parser takes about a kilobyte for each node, however short: 500 MiB for one of 1 MiB.
	nodes := 0
	for _, separator := range []string{":", ",", "\n", "[", "{"} {
		nodes += strings.Count(s, separator)
	}
	if nodes > MaxNodes {
		return nil, fault.New(fault.Data, "the YAML has over %d colons, commas, brackets and lines", MaxNodes)
	}
	var documents []any
	if err := yaml.Load([]byte(s), &documents, yaml.WithAllDocuments()); err != nil {
		if at := place.FindStringSubmatch(err.Error()); at != nil {
			return nil, fault.New(fault.Data, "it is not YAML at line %s", at[1])
		}
		return nil, fault.New(fault.Data, "it is not YAML")
	}
	if len(documents) != 1 {
		return nil, fault.New(fault.Data, "it has %d YAML documents, not one", len(documents))
	}
	return documents[0], nil
}

// toTOML refuses nil, which TOML cannot say and its encoder leaves out.
func toTOML(value any) (string, error) {
	var s scale
	s.weigh(reflect.ValueOf(value), 0)
	if s.null {
		return "", fault.New(fault.Data, "a value is nil, or holds a nil, which TOML cannot say")
	}
	if reflect.ValueOf(value).Kind() != reflect.Map {
		return "", fault.New(fault.Data, "a %s cannot be TOML, only a dict", kindOf(value))
	}
	out, err := toml.Marshal(value)
	if err != nil {
		return "", fault.New(fault.Data, "the dict holds what cannot be TOML")
	}
	return strings.TrimSuffix(string(out), "\n"), nil
}

func fromTOML(s string) (any, error) {
	if err := parsable(s); err != nil {
		return nil, err
	}
	var value map[string]any
	err := toml.Unmarshal([]byte(s), &value)
	if at, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, column := at.Position()
		return nil, fault.New(fault.Data, "it is not TOML at line %d, column %d", line, column)
	}
	if err != nil {
		return nil, fault.New(fault.Data, "it is not TOML")
	}
	return value, nil
}

// parsable bounds what is parsed: a parser takes many times as much memory as its text.
func parsable(s string) error {
	if len(s) > MaxParsed {
		return fault.New(fault.Data, "the text is over %d bytes", MaxParsed)
	}
	return nil
}

func base64Encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func base64Decode(s string) (string, error) {
	out, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return "", fault.New(fault.Data, "%w", err)
	}
	return string(out), nil
}

func base64URLEncode(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) }

func base64URLDecode(s string) (string, error) {
	out, err := base64.URLEncoding.DecodeString(s)
	if err != nil {
		return "", fault.New(fault.Data, "%w", err)
	}
	return string(out), nil
}

func md5sum(s string) string {
	digest := md5.Sum([]byte(s))
	return hex.EncodeToString(digest[:])
}

func hmacSHA256Hex(message, key string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(message))
	return hex.EncodeToString(mac.Sum(nil))
}

func sha256Hex(s string) string {
	digest := sha256.Sum256([]byte(s))
	return hex.EncodeToString(digest[:])
}
