package aws

import (
	"strings"
	"testing"
)

func FuzzProfile(f *testing.F) {
	f.Add("[default]\nregion = eu-west-1 # home\ns3 =\n  addressing_style = path\n[profile \"a b\"]\n[services x]\n", false)
	f.Add("[keys]\naws_access_key_id=a\n[]\n =\n b\n[", true)
	f.Fuzz(func(t *testing.T, text string, credentials bool) {
		s := make(sections)
		s.read(text, credentials)
		for name, settings := range s {
			if !strings.HasPrefix(name, "profile ") && !strings.HasPrefix(name, "services ") {
				t.Errorf("got the section %q", name)
			}
			for key, value := range settings {
				if key != strings.ToLower(key) || strings.ContainsAny(key+value, "\n") {
					t.Errorf("got %q = %q", key, value)
				}
			}
		}
		if p, err := s.profile(""); err != nil || p.name != "default" {
			t.Errorf("got %q, %v", p.name, err)
		}
	})
}
