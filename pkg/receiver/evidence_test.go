//go:generate go test -run TestEvidencePageIsUpToDate -update .

package receiver

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/receivers-evidence.md")

// The page is made of the catalogue and of the vectors: go generate ./pkg/receiver.
func TestEvidencePageIsUpToDate(t *testing.T) {
	const path = "../../docs/receivers-evidence.md"
	want := evidence(t)
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil { //nolint:gosec // a page for everybody
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/receivers-evidence.md is stale, run go generate ./pkg/receiver")
	}
}

// evidence is the page: what each receiver was compared with, and what it leaves out.
func evidence(t *testing.T) []byte {
	t.Helper()
	type count struct{ official, third, own, forged int }
	counts := make(map[string]*count)
	for _, v := range vectors(t) {
		c := counts[v.Receiver]
		if c == nil {
			c = &count{}
			counts[v.Receiver] = c
		}
		switch {
		case v.Refused:
			c.forged++
		case strings.HasPrefix(v.Origin, "official"):
			c.official++
		case strings.HasPrefix(v.Origin, "third-party"):
			c.third++
		default:
			c.own++
		}
	}
	var table bytes.Buffer
	var all count
	official, number := 0, func(n int) string {
		if n == 0 {
			return ""
		}
		return fmt.Sprint(n)
	}
	for _, name := range Names() {
		r, _ := Lookup(name)
		c := counts[name]
		if c == nil {
			c = &count{}
		}
		if c.official > 0 {
			official++
		}
		all.official, all.third, all.own, all.forged = all.official+c.official, all.third+c.third, all.own+c.own, all.forged+c.forged
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s | %s | %s | %s |\n", name, number(c.official), number(c.third), number(c.own), number(c.forged),
			strings.Join(r.Limits, " "), strings.Join(fromMemory(t, name), "; "))
	}
	return fmt.Appendf(nil, `# What the receivers rest on

<!-- Generated from pkg/receiver's catalogue and testdata by go generate ./pkg/receiver. Do not edit. -->

Requests with a signature that somebody else made, or another program, are in
[pkg/receiver/testdata/vectors](../pkg/receiver/testdata/vectors), each with its origin; every one is verified by the tests, and refused with
a changed body where that is signed. There are %d of the providers' own documentation and libraries (for %d of %d receivers), %d of the libraries
of others, %d that were computed for Belay, and %d forgeries. Receivers without one are compared in the tests of their scheme. Besides, every
receiver is tried against its own signatures, with each byte changed that is signed. The providers' SDKs that agree are on
[a page of their own](agreement.md).

- **Official**, **Others**, **Computed**, **Forged**: the numbers of those requests.
- **Limits**: what Belay does not do of what the provider can, and what the provider's scheme does not prove.
- **From memory**: lines of the receiver's file that were not seen in the provider's documentation.

| Receiver | Official | Others | Computed | Forged | Limits | From memory |
| --- | --- | --- | --- | --- | --- | --- |
%s`, all.official, official, len(Names()), all.third, all.own, all.forged, table.Bytes())
}

var memory = regexp.MustCompile(`(?m)^.*from memory.*$`)

// fromMemory lists the lines of a receiver's file that say so.
func fromMemory(t *testing.T, name string) []string {
	t.Helper()
	file, err := os.ReadFile(filepath.Join("catalogue", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, line := range memory.FindAll(file, -1) {
		text := strings.ReplaceAll(strings.TrimSpace(strings.TrimLeft(string(line), " #-")), "|", `\|`)
		lines = append(lines, "`"+strings.ReplaceAll(text, "`", "'")+"`")
	}
	return lines
}
