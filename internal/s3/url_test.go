package s3

import (
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
)

const accessPoint = "arn:aws:s3:eu-west-1:111122223333:accesspoint/reader"

func TestParseURL(t *testing.T) {
	for _, test := range []struct {
		text   string
		want   URL
		prefix bool
	}{
		{"s3://models/m.bin", URL{"models", "m.bin", ""}, false},
		{"s3://models/a/b", URL{"models", "a/b", ""}, false},
		{"s3://models/a/", URL{"models", "a/", ""}, true},
		{"s3://models", URL{"models", "", ""}, true},
		{"s3://models/", URL{"models", "", ""}, true},
		{"s3://models//a", URL{"models", "/a", ""}, false},
		{"s3://models/a b+c%20d?e#f", URL{"models", "a b+c%20d?e#f", ""}, false},
		{"s3://models/m.bin?versionId=3/L4kqtJlcpXroDTDmJ", URL{"models", "m.bin?versionId=3/L4kqtJlcpXroDTDmJ", ""}, false},
		{"s3://models/m.bin?versionId=3L4kq_tJl-cp.Xr", URL{"models", "m.bin", "3L4kq_tJl-cp.Xr"}, false},
		{"s3://models/m.bin?versionId=null", URL{"models", "m.bin", "null"}, false},
		{"s3://models/m.bin?versionId=", URL{"models", "m.bin?versionId=", ""}, false},
		{"s3://" + accessPoint + "/a/b", URL{accessPoint, "a/b", ""}, false},
		{"s3://" + accessPoint, URL{accessPoint, "", ""}, true},
		{"s3://arn:aws:s3:eu-west-1:111122223333:accesspoint:reader/a", URL{"arn:aws:s3:eu-west-1:111122223333:accesspoint:reader", "a", ""}, false},
		{"s3://reader-abcdef-s3alias/a", URL{"reader-abcdef-s3alias", "a", ""}, false},
	} {
		got, err := ParseURL(test.text)
		if err != nil || got != test.want || got.IsPrefix() != test.prefix {
			t.Errorf("%s: got %+v, prefix %v, %v", test.text, got, got.IsPrefix(), err)
		}
	}
}

func TestURLsThatAreNone(t *testing.T) {
	for text, want := range map[string]string{
		"":                              " does not begin with s3://",
		"https://models/m":              "https://models/m does not begin with s3://",
		"s3:///m":                       "there is no bucket",
		"s3://":                         "there is no bucket",
		"s3://a/m":                      "a is no bucket's name",
		"s3://minio:9000/m":             "minio:9000 is no bucket's name",
		"s3://me:pass@b/m":              "me:pass@b is no bucket's name",
		"s3://../m":                     ".. is no bucket's name",
		"s3://mod\x00els/m":             `"mod\x00els" is no bucket's name`,
		"s3://models--use1-az4--x-s3/m": "models--use1-az4--x-s3 is a directory bucket (S3 Express One Zone), which has sessions of its own: these are not supported",
		"s3://models/" + strings.Repeat("k", 1025):                           "s3://models: the key has 1025 bytes, and S3 takes 1024",
		"s3://models/\xff":                                                   "s3://models: the key is no UTF-8",
		"s3://models/a/?versionId=v":                                         "s3://models/a/?versionId=v: a prefix has no version",
		"s3://arn:aws:s3:eu-west-1:111122223333:accesspoint/":                "arn:aws:s3:eu-west-1:111122223333:accesspoint/ is no access point",
		"s3://arn:aws:s3:eu-west-1:1111:accesspoint/reader/m":                "arn:aws:s3:eu-west-1:1111:accesspoint/reader names no account",
		"s3://arn:aws:s3:Earth:111122223333:accesspoint/reader/m":            "arn:aws:s3:Earth:111122223333:accesspoint/reader names no region",
		"s3://arn:aws:s3::111122223333:accesspoint/mfzwi23gnjvgw.mrap/m":     "arn:aws:s3::111122223333:accesspoint/mfzwi23gnjvgw.mrap is an access point of several regions, which takes another signature (SigV4A): it is not supported",
		"s3://arn:aws:s3-outposts:us-west-2:111122223333:outpost/op-1/x/y/m": "arn:aws:s3-outposts:us-west-2:111122223333:outpost is no access point",
		"s3://arn:aws:s3:::models/m":                                         "arn:aws:s3:::models is no access point",
	} {
		if _, err := ParseURL(text); err == nil || err.Error() != want || fault.KindOf(err) != fault.Usage {
			t.Errorf("%.60q: got %v (%v), want %s", text, err, fault.KindOf(err), want)
		}
	}
}

func FuzzURL(f *testing.F) {
	for _, text := range []string{"s3://models/a?versionId=v", "s3://" + accessPoint + "/k", "s3://arn:::::/", "s3:///", "s3://models/a%b"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := ParseURL(text)
		if err != nil {
			if fault.KindOf(err) != fault.Usage {
				t.Errorf("got %v", fault.KindOf(err))
			}
			return
		}
		again, err := ParseURL(u.String())
		if err != nil || again != u {
			t.Errorf("%q: got %+v, then %+v, %v", text, u, again, err)
		}
		if c, err := Open((*fake)(nil).env(), Options{Bucket: u.Bucket}); err != nil || strings.ContainsAny(c.Address(), "/@?# ") {
			t.Errorf("%q: got %v, %v", text, c, err)
		}
	})
}
