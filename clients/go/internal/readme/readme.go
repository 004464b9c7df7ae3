// Package readme runs the Go code of a README.
package readme

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Run runs each block of Go code of README.md in the current folder, which must be that of a module.
//
// A block is a program, or statements that `template` makes one of: it has a %s for them. The environment gets more
// variables, in the form of [os.Environ].
func Run(t *testing.T, template string, environment ...string) {
	t.Helper()
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	// Inside of the module, so that the code uses it.
	folder, err := os.MkdirTemp(".", "readme-")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(folder) }()
	blocks := strings.Split(string(page), "```go\n")[1:]
	for number, block := range blocks {
		code, _, _ := strings.Cut(block, "```\n")
		if !strings.HasPrefix(code, "package main") {
			code = fmt.Sprintf(template, code)
		}
		program := filepath.Join(folder, fmt.Sprintf("block%d.go", number+1))
		if err := os.WriteFile(program, []byte(code), 0o600); err != nil {
			t.Fatal(err)
		}
		run := exec.Command("go", "run", program)
		run.Env = append(os.Environ(), environment...)
		if output, err := run.CombinedOutput(); err != nil {
			t.Errorf("block %d: %v: %s\n%s", number+1, err, output, code)
		}
	}
	if len(blocks) == 0 {
		t.Error("no code in README.md")
	}
}
