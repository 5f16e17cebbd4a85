package lint

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"
)

// Formats returns the names of the formats, the default first.
func Formats() []string { return []string{"text", "json", "sarif"} }

// Write writes findings in a format. Version is slipway's, for SARIF.
func Write(w io.Writer, format, version string, findings []Finding) error {
	switch format {
	case "json":
		return encode(w, plain(findings))
	case "sarif":
		return encode(w, sarif(version, findings))
	}
	for _, f := range findings {
		place := fmt.Sprintf("%s:%d:%d", f.Pos.File, f.Pos.Line, f.Pos.Column)
		object := ""
		if f.Object != "" {
			object = f.Object + ": "
		}
		if _, err := fmt.Fprintf(w, "%s: %s: %s%s [%s]\n", place, f.Rule.Severity, printable(object), printable(f.Message), f.Rule.ID); err != nil {
			return err
		}
		if f.Hint != "" {
			if _, err := fmt.Fprintf(w, "  hint: %s\n", printable(f.Hint)); err != nil {
				return err
			}
		}
	}
	return nil
}

// printable returns text that neither breaks its line nor moves the cursor.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || (r >= 0x7f && r < 0xa0) {
			return '?'
		}
		return r
	}, text)
}

func encode(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// finding is one as JSON.
type finding struct {
	Rule     string   `json:"rule"`
	Severity Severity `json:"severity"`
	File     string   `json:"file"`
	Line     int      `json:"line"`
	Column   int      `json:"column"`
	Object   string   `json:"object,omitempty"`
	Message  string   `json:"message"`
	Hint     string   `json:"hint,omitempty"`
}

func plain(findings []Finding) []finding {
	all := make([]finding, 0, len(findings))
	for _, f := range findings {
		all = append(all, finding{f.Rule.ID, f.Rule.Severity, f.Pos.File, f.Pos.Line, f.Pos.Column, f.Object, f.Message, f.Hint})
	}
	return all
}

// The parts of SARIF 2.1.0 that are used. See https://docs.oasis-open.org/sarif/sarif/v2.1.0/
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool struct {
			Driver struct {
				Name           string      `json:"name"`
				Version        string      `json:"version"`
				InformationURI string      `json:"informationUri"`
				Rules          []sarifRule `json:"rules"`
			} `json:"driver"`
		} `json:"tool"`
		Results []sarifResult `json:"results"`
	}
	sarifRule struct {
		ID                   string    `json:"id"`
		ShortDescription     sarifText `json:"shortDescription"`
		DefaultConfiguration struct {
			Level Severity `json:"level"`
		} `json:"defaultConfiguration"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID    string          `json:"ruleId"`
		RuleIndex int             `json:"ruleIndex"`
		Level     Severity        `json:"level"`
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations"`
	}
	sarifLocation struct {
		PhysicalLocation struct {
			ArtifactLocation struct {
				URI string `json:"uri"`
			} `json:"artifactLocation"`
			Region struct {
				StartLine   int `json:"startLine"`
				StartColumn int `json:"startColumn"`
			} `json:"region"`
		} `json:"physicalLocation"`
	}
)

// sarif returns findings as code scanners of forges read them.
func sarif(version string, findings []Finding) sarifLog {
	run := sarifRun{Results: []sarifResult{}}
	driver := &run.Tool.Driver
	driver.Name, driver.Version, driver.InformationURI = "slipway", version, "https://github.com/slipway-init/slipway/blob/main/docs/lint.md"
	index := make(map[string]int)
	for i, r := range Rules() {
		index[r.ID] = i
		rule := sarifRule{ID: r.ID, ShortDescription: sarifText{r.Text}}
		rule.DefaultConfiguration.Level = r.Severity
		driver.Rules = append(driver.Rules, rule)
	}
	for _, f := range findings {
		text := f.Message
		if f.Object != "" {
			text = f.Object + ": " + text
		}
		if f.Hint != "" {
			text += "; " + f.Hint
		}
		var location sarifLocation
		location.PhysicalLocation.ArtifactLocation.URI = uri(f.Pos.File)
		location.PhysicalLocation.Region.StartLine = max(f.Pos.Line, 1)
		location.PhysicalLocation.Region.StartColumn = max(f.Pos.Column, 1)
		run.Results = append(run.Results, sarifResult{f.Rule.ID, index[f.Rule.ID], f.Rule.Severity, sarifText{text}, []sarifLocation{location}})
	}
	return sarifLog{"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0", []sarifRun{run}}
}

// uri returns a file's name as a reference of a URI, whatever stands in it.
func uri(file string) string {
	u := url.URL{Path: filepath.ToSlash(file)}
	return u.String()
}
