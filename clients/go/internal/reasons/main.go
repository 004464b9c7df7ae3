// Command reasons writes holdfast/reasons.go from the published table of reasons, proto/holdfast/v1/reasons.json.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/format"
	"log"
	"os"
	"strings"
)

type reason struct {
	Reason     string `json:"reason"`
	StatusCode int    `json:"status_code"`
	Retryable  bool   `json:"retryable"`
	Meaning    string `json:"meaning"`
	Advice     string `json:"advice"`
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: reasons TABLE OUTPUT")
	}
	raw, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	var table struct {
		Domain  string   `json:"domain"`
		Reasons []reason `json:"reasons"`
	}
	if err := json.Unmarshal(raw, &table); err != nil {
		log.Fatalf("%s: %v", os.Args[1], err)
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "// Code generated from proto/holdfast/v1/reasons.json. DO NOT EDIT.\n\npackage holdfast\n\n")
	fmt.Fprintf(&out, "import \"google.golang.org/grpc/codes\"\n\n")
	fmt.Fprintf(&out, "// The domain of the reasons in a server's answers.\nconst domain = %q\n\n", table.Domain)
	fmt.Fprintf(&out, "// The reasons that servers give.\nconst (\n")
	for _, each := range table.Reasons {
		fmt.Fprintf(&out, "\t// %s\n\t%s Reason = %q\n", each.Meaning, constant(each.Reason), each.Reason)
	}
	fmt.Fprintf(&out, ")\n\n// Returns what a reason means for a caller; false if this version does not know it.\n")
	fmt.Fprintf(&out, "func traitsOf(reason Reason) (traits, bool) {\n\tswitch reason {\n")
	for _, each := range table.Reasons {
		fmt.Fprintf(&out, "\tcase %s:\n\t\treturn traits{codes.Code(%d), %t, %q}, true\n",
			constant(each.Reason), each.StatusCode, each.Retryable, each.Advice)
	}
	fmt.Fprintf(&out, "\t}\n\treturn traits{}, false\n}\n")
	code, err := format.Source(out.Bytes())
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(os.Args[2], code, 0o644); err != nil {
		log.Fatal(err)
	}
}

// Returns the name of a reason's constant: ErrWriterFenced for WRITER_FENCED.
func constant(reason string) string {
	name := "Err"
	for _, word := range strings.Split(reason, "_") {
		if word == "ID" {
			name += word
			continue
		}
		name += word[:1] + strings.ToLower(word[1:])
	}
	return name
}
