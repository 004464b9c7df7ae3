// Package clients tests the code of the README.
package clients

import (
	"testing"

	"holdfast.dev/go/internal/readme"
	"holdfast.dev/go/internal/testserver"
)

const snippet = `package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"holdfast.dev/go/holdfast"
)

var format = holdfast.Format{Name: "my-engine", Version: 1}
var _ = []any{errors.Is, fmt.Println, os.Open, filepath.Join, time.Now}

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
	server := testserver.Start(t, t.TempDir())
	readme.Run(t, snippet, "HOLDFAST_TARGET="+server.Target)
}
