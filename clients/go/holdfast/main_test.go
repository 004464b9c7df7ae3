package holdfast_test

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"holdfast.dev/go/internal/testserver"
)

// Runs the tests with a server for the examples, and looks for goroutines that they have left.
func TestMain(m *testing.M) {
	flag.Parse()
	folder, err := os.MkdirTemp("", "holdfast-examples-")
	if err != nil {
		panic(err)
	}
	server, err := testserver.Run(folder)
	switch {
	case err == nil:
		_ = os.Setenv("HOLDFAST_TARGET", server.Target)
	case os.IsNotExist(err) && os.Getenv("CI") == "":
		fmt.Println("skipped the examples: no Holdfast server")
		_ = flag.Set("test.skip", "^Example")
	default:
		panic(err)
	}
	code := m.Run()
	if server != nil {
		server.Stop()
	}
	_ = os.RemoveAll(folder)
	if found := goleak.Find(); found != nil && code == 0 {
		fmt.Println(found)
		code = 1
	}
	os.Exit(code)
}
