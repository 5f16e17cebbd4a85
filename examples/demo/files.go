package main

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// drawFiles shows the tree below a folder of the stage, with modes and sizes.
func (s *stage) drawFiles(name string) error {
	s.say("\n%s", s.bold("The files"))
	info, err := os.Lstat(s.path(name))
	if err != nil {
		return err
	}
	return s.drawFile(name, info, "", "")
}

// drawFile shows one file and those below it.
func (s *stage) drawFile(path string, info fs.FileInfo, branch, indent string) error {
	if !info.IsDir() {
		s.say("  %-24s %s  %d bytes", branch+info.Name(), info.Mode(), info.Size())
		return nil
	}
	s.say("  %-24s %s", branch+info.Name()+"/", info.Mode())
	entries, err := os.ReadDir(s.path(path))
	if err != nil {
		return err
	}
	for i, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			return err
		}
		branch, below := indent+"├─ ", indent+"│  "
		if i == len(entries)-1 {
			branch, below = indent+"└─ ", indent+"   "
		}
		if err := s.drawFile(filepath.Join(path, entry.Name()), info, branch, below); err != nil {
			return err
		}
	}
	return nil
}

// snapshot is what a folder's files are: mode, time of change, and digest by path.
type snapshot map[string]string

// take returns the snapshot of a folder.
func take(dir string) (snapshot, error) {
	files := make(snapshot)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		facts := fmt.Sprint(info.Mode(), info.ModTime().UnixNano())
		if info.Mode().IsRegular() {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			facts += fmt.Sprintf(" %x", sha256.Sum256(content))
		}
		files[path] = facts
		return nil
	})
	return files, err
}
