package main

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// drawFiles shows the tree below a folder of the stage, with modes and sizes.
func (s *stage) drawFiles(name string) error {
	s.say("\n%s", s.bold("The files"))
	return filepath.WalkDir(s.path(name), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(s.path(name), path)
		if err != nil {
			return err
		}
		label, size := entry.Name()+"/", ""
		if !entry.IsDir() {
			label, size = entry.Name(), fmt.Sprintf("%d bytes", info.Size())
		}
		if relative != "." {
			label = strings.Repeat("   ", strings.Count(relative, string(filepath.Separator))) + "└─ " + label
		}
		s.say("  %-24s %s  %s", label, info.Mode(), size)
		return nil
	})
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
