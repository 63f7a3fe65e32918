// SPDX-License-Identifier: Apache-2.0

package draw

import (
	"fmt"
	"strings"
	"unicode"
)

// clean leaves what can be seen: names are whatever a manifest says. What cannot be printed, such as
// newlines and marks that turn the direction of writing, becomes a space.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// shorten makes a text a label; a blank one is a question mark. It keeps both ends of a text that is wider than width: names often differ in the last letters only.
func shorten(text string, width int) string {
	runes := []rune(clean(text))
	if strings.TrimSpace(string(runes)) == "" {
		return "?"
	}
	if columns(runes) <= width {
		return string(runes)
	}
	head, tail := len(runes), len(runes)
	for head > 0 && columns(runes[:head]) > width-width/3-1 {
		head--
	}
	for tail > head && columns(runes[tail-1:]) <= width/3 {
		tail--
	}
	return string(runes[:head]) + "…" + string(runes[tail:])
}

// columns is about how wide a text is, in Latin letters. Other scripts and pictures are counted double.
func columns(runes []rune) int {
	n := len(runes)
	for _, r := range runes {
		if r >= 0x1100 {
			n++
		}
	}
	return n
}

// wrap breaks a text between words into lines of at most width. Words that are wider are cut.
func wrap(text string, width int) []string {
	var lines []string
	line, used := "", -1
	for _, word := range strings.Fields(text) {
		word = shorten(word, width)
		n := columns([]rune(word))
		if line != "" && used+1+n > width {
			lines = append(lines, line)
			line, used = "", -1
		}
		line, used = strings.TrimSpace(line+" "+word), used+1+n
	}
	return append(lines, line)
}

var entities = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&#39;")

// escapeXML makes a text harmless in XML, in and out of attributes, and in Graphviz' HTML-like labels.
func escapeXML(text string) string { return entities.Replace(clean(text)) }

var quoted = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "&", "&amp;")

// quoteDOT makes a text a string of DOT. Graphviz reads escapes and character references in labels.
func quoteDOT(text string) string { return `"` + quoted.Replace(clean(text)) + `"` }

// escapeMermaid writes all but the plainest characters as Mermaid's #number; because Mermaid reads HTML
// and Markdown in labels: "1. " and "- " would begin a list.
func escapeMermaid(text string) string {
	var b strings.Builder
	runes := []rune(clean(text))
	for i, r := range runes {
		list := i+1 < len(runes) && runes[i+1] == ' ' && (r == '.' || r == '-')
		if !list && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(" /:,.-…", r)) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "#%d;", r)
		}
	}
	return b.String()
}
