package s3

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/slipway-init/slipway/internal/aws"
	"github.com/slipway-init/slipway/internal/fault"
)

// URL names an object, or all that is below a prefix: s3://bucket/key, s3://bucket/prefix/,
// s3://arn:aws:s3:eu-west-1:111122223333:accesspoint/name/key.
type URL struct {
	Bucket    string // its name, or the ARN of an access point
	Key       string // exactly as the object has it
	VersionID string // "" is the newest
}

// scheme begins every URL.
const scheme = "s3://"

// maxKey is S3's own bound of a key, in bytes of UTF-8.
const maxKey = 1024

// versionMark parts a key and a version.
const versionMark = "?versionId="

// ParseURL parses the URL of an object or a prefix. The key stands as it is, as in AWS's own tools: a space, a plus, a
// percent sign, a question mark are what they are, and nothing is escaped. Alone "?versionId=" with a version at the end is
// no part of it. What is wrong is Usage.
func ParseURL(text string) (URL, error) {
	rest, ok := strings.CutPrefix(text, scheme)
	if !ok {
		return URL{}, fault.New(fault.Usage, "%s does not begin with s3://", printable(text))
	}
	var u URL
	if strings.HasPrefix(rest, "arn:") {
		u.Bucket, u.Key = cutARN(rest)
	} else {
		u.Bucket, u.Key, _ = strings.Cut(rest, "/")
	}
	if at := strings.LastIndex(u.Key, versionMark); at >= 0 && isVersion(u.Key[at+len(versionMark):]) {
		u.Key, u.VersionID = u.Key[:at], u.Key[at+len(versionMark):]
	}
	if _, err := parseBucket(u.Bucket); err != nil {
		return URL{}, err
	}
	switch {
	case len(u.Key) > maxKey:
		return URL{}, fault.New(fault.Usage, "%s: the key has %d bytes, and S3 takes %d", scheme+u.Bucket, len(u.Key), maxKey)
	case !utf8.ValidString(u.Key):
		return URL{}, fault.New(fault.Usage, "%s: the key is no UTF-8", scheme+u.Bucket)
	case u.VersionID != "" && u.IsPrefix():
		return URL{}, fault.New(fault.Usage, "%s: a prefix has no version", u)
	}
	return u, nil
}

// IsPrefix reports whether u means all that is below it, and no object.
func (u URL) IsPrefix() bool { return u.Key == "" || strings.HasSuffix(u.Key, "/") }

// String returns u as ParseURL takes it.
func (u URL) String() string {
	text := scheme + u.Bucket + "/" + u.Key
	if u.VersionID != "" {
		text += versionMark + u.VersionID
	}
	return text
}

// isVersion reports whether text may be a version's id: S3 gives those out, of the characters of a URL.
func isVersion(text string) bool {
	return text != "" && len(text) <= maxKey && !strings.ContainsFunc(text, func(r rune) bool {
		return !(letter(r) || digit(r) || r == '-' || r == '_' || r == '.' || r == '~')
	})
}

// cutARN parts the ARN of an access point, which has a slash or a colon before the name, and a key.
func cutARN(text string) (arn, key string) {
	arn, key, _ = strings.Cut(text, "/")
	if strings.HasSuffix(arn, ":accesspoint") {
		name, rest, _ := strings.Cut(key, "/")
		return arn + "/" + name, rest
	}
	return arn, key
}

// bucket is a bucket or an access point.
type bucket struct {
	text string // as it was given

	arn                   bool // it is an access point's
	region, account, name string
}

// parseBucket checks a bucket's name. Old buckets have names that new ones may not have, so that this is what no bucket ever
// had: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html.
func parseBucket(text string) (bucket, error) {
	if strings.HasPrefix(text, "arn:") {
		return parseARN(text)
	}
	wrong := strings.ContainsFunc(text, func(r rune) bool {
		return !(letter(r) || digit(r) || r == '-' || r == '_' || r == '.')
	})
	switch {
	case text == "":
		return bucket{}, fault.Hint(fault.New(fault.Usage, "there is no bucket"), "write s3://BUCKET/KEY")
	case wrong:
		return bucket{}, fault.Hint(fault.New(fault.Usage, "%s is no bucket's name", printable(text)),
			"write s3://BUCKET/KEY; a server of your own is named by --endpoint-url")
	case len(text) < 3 || len(text) > 255 || strings.Trim(text, ".") != text:
		return bucket{}, fault.New(fault.Usage, "%s is no bucket's name", printable(text))
	case strings.HasSuffix(text, "--x-s3"):
		return bucket{}, fault.New(fault.Usage, "%s is a directory bucket (S3 Express One Zone), which has sessions of its own: these are not supported", text)
	}
	return bucket{text: text}, nil
}

// parseARN parses arn:PARTITION:s3:REGION:ACCOUNT:accesspoint/NAME.
func parseARN(text string) (bucket, error) {
	words := strings.SplitN(text, ":", 6)
	wrong := func(why string) (bucket, error) {
		return bucket{}, fault.Hint(fault.New(fault.Usage, "%s %s", printable(text), why), "write arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME")
	}
	if len(words) < 6 || words[2] != "s3" {
		return wrong("is no access point")
	}
	name, ok := strings.CutPrefix(strings.Replace(words[5], ":", "/", 1), "accesspoint/")
	b := bucket{text: text, arn: true, region: words[3], account: words[4], name: name}
	switch {
	case !ok || !isLabel(name) || len(name) < 3 || len(name) > 50:
		if ok && b.region == "" {
			return wrong("is an access point of several regions, which takes another signature (SigV4A): it is not supported")
		}
		return wrong("is no access point")
	case !aws.IsRegion(b.region):
		return wrong("names no region")
	case len(b.account) != 12 || strings.ContainsFunc(b.account, func(r rune) bool { return !digit(r) }):
		return wrong("names no account")
	}
	return b, nil
}

// isLabel reports whether text may be one label of a host's name.
func isLabel(text string) bool {
	return text != "" && len(text) <= 63 && strings.Trim(text, "-") == text && !strings.ContainsFunc(text, func(r rune) bool {
		return !('a' <= r && r <= 'z' || digit(r) || r == '-')
	})
}

func letter(r rune) bool { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' }
func digit(r rune) bool  { return '0' <= r && r <= '9' }

// printable returns text as an error may have it: as it is, or quoted, or shortened.
func printable(text string) string {
	const most = 200
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	if quoted := strconv.Quote(text); quoted != `"`+text+`"` {
		return quoted
	}
	return text
}
