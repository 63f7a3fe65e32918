// SPDX-License-Identifier: Apache-2.0

// Package wording tells people of verdicts: in the same words whoever is asked, `bulkhead explain` or a node.
package wording

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// Style is an escape sequence of a terminal.
type Style string

// The styles.
const (
	Plain      Style = ""
	Bold       Style = "\x1b[1m"
	Faint      Style = "\x1b[2m"
	Red        Style = "\x1b[31m"
	Green      Style = "\x1b[32m"
	Yellow     Style = "\x1b[33m"
	BoldRed    Style = "\x1b[1;31m"
	BoldGreen  Style = "\x1b[1;32m"
	BoldYellow Style = "\x1b[1;33m"

	reset = "\x1b[0m"
)

// Printer writes lines. What is in them cannot steer a terminal.
type Printer struct {
	Out io.Writer
	// Colour: styles are written. Without, all is plain.
	Colour bool

	err error
}

// Err is the first error of writing; nil: all was written.
func (p *Printer) Err() error { return p.err }

// Line writes one line.
func (p *Printer) Line(s Style, format string, args ...any) {
	text := strings.TrimRight(Printable(fmt.Sprintf(format, args...)), " ")
	if p.Colour && s != Plain && text != "" {
		text = string(s) + text + reset
	}
	if _, err := fmt.Fprintln(p.Out, text); err != nil && p.err == nil {
		p.err = err
	}
}

// Heading writes one, after an empty line.
func (p *Printer) Heading(format string, args ...any) {
	p.Line(Plain, "")
	p.Line(Bold, format, args...)
}

// Answer writes what a report begins with: the whole in one sentence, and what was assumed.
func (p *Printer) Answer(allowed bool, answer string, notes []string) {
	headline := BoldRed
	if allowed {
		headline = BoldGreen
	}
	p.Line(headline, "%s", answer)
	for _, note := range notes {
		p.Line(Faint, "  %s", note)
	}
}

// Printable is a text with a question mark for all that cannot be seen, such as what steers a terminal.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

// Print writes a report as format says: indented JSON, YAML, or else by text, which is told whether to use colours.
func Print(out io.Writer, format string, report any, text func(out io.Writer, colour bool) error) error {
	switch format {
	case "json":
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(report)
	case "yaml":
		document, err := yaml.Marshal(report)
		if err == nil {
			_, err = out.Write(document)
		}
		return err
	}
	return text(out, Colourful(out))
}

// Colourful says whether the output is a terminal whose owner does not mind colours.
func Colourful(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
