// Package clients tests the code of the README.
package clients

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"holdfast.dev/go/internal/testserver"
)

const snippet = `package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"holdfast.dev/go/holdfast"
)

var format = holdfast.Format{Name: "my-engine", Version: 1}
var _ = []any{errors.Is, fmt.Println, os.Open, filepath.Join}

func main() {
	client, err := holdfast.NewClient(os.Getenv("HOLDFAST_TARGET"))
	if err == nil {
		err = run(context.Background(), client)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, client *holdfast.Client) error {
%s
	return nil
}
`

func TestTheCodeOfTheReadmeRunsAsWritten(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	server := testserver.Start(t, t.TempDir())
	// Inside of the module, so that it uses this client.
	folder, err := os.MkdirTemp("internal", "readme-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	blocks := strings.Split(string(page), "```go\n")[1:]
	for number, block := range blocks {
		code, _, _ := strings.Cut(block, "```\n")
		if !strings.HasPrefix(code, "package main") {
			code = fmt.Sprintf(snippet, code)
		}
		program := filepath.Join(folder, fmt.Sprintf("block%d.go", number))
		if err := os.WriteFile(program, []byte(code), 0o600); err != nil {
			t.Fatal(err)
		}
		run := exec.Command("go", "run", program)
		run.Env = append(os.Environ(), "HOLDFAST_TARGET="+server.Target)
		if output, err := run.CombinedOutput(); err != nil {
			t.Errorf("block %d: %v: %s\n%s", number+1, err, output, code)
		}
	}
}
