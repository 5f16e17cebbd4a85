package memory

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTheLeastLimitAboveCounts(t *testing.T) {
	for _, test := range []struct {
		name  string
		files map[string]string
		want  int64 // 0 is none
	}{
		{"version 2, in a container", map[string]string{
			"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "67108864\n",
		}, 64 << 20},
		{"version 2, a limit above", map[string]string{
			"proc/self/cgroup":                       "0::/pod/container\n",
			"sys/fs/cgroup/pod/memory.max":           "33554432\n",
			"sys/fs/cgroup/pod/container/memory.max": "67108864\n",
		}, 32 << 20},
		{"version 2, the host's path is not mounted", map[string]string{
			"proc/self/cgroup": "0::/kubepods/pod1/abc\n", "sys/fs/cgroup/memory.max": "1048576\n",
		}, 1 << 20},
		{"version 2, without a limit", map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, 0},
		{"version 1", map[string]string{
			"proc/self/cgroup":                             "9:name=systemd:/\n4:memory:/a\n1:cpu:/\n0::/\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":   "9223372036854771712\n",
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes": "67108864\n",
		}, 64 << 20},
		{"version 1, without a limit", map[string]string{
			"proc/self/cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, 0},
		{"no kernel's files at all", nil, 0},
		{"words that make no sense", map[string]string{"proc/self/cgroup": "x\n:\n0::/\n", "sys/fs/cgroup/memory.max": "-1\n"}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			for name, text := range test.files {
				path := filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got, ok := limit(root); got != test.want || ok != (test.want > 0) {
				t.Errorf("got %d, %v, want %d", got, ok, test.want)
			}
		})
	}
}
