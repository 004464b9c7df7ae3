// Package testserver starts real Holdfast servers for tests and benchmarks.
package testserver

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// Server is a server in a process of its own.
type Server struct {
	// Target is its address, host:port.
	Target  string
	process *exec.Cmd
}

// Start starts a server on a folder, with more arguments of `serve`. It is stopped at the end of the test.
//
// The server is the command line in HOLDFAST_SERVER, by default that of the repository's environment. Without one the
// test is skipped, except in CI, where it fails.
func Start(t testing.TB, folder string, arguments ...string) *Server {
	t.Helper()
	server, err := Run(folder, arguments...)
	if os.IsNotExist(err) && os.Getenv("CI") == "" {
		t.Skipf("no Holdfast server: %v (set HOLDFAST_SERVER)", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return server
}

// Run starts a server on a folder, with more arguments of `serve`.
func Run(folder string, arguments ...string) (*Server, error) {
	command := strings.Fields(os.Getenv("HOLDFAST_SERVER"))
	if len(command) == 0 {
		command = []string{filepath.Join(Root(), "../../.venv/bin/holdfast-server")}
	}
	listen := []string{"serve", "--store", folder, "--listen", "127.0.0.1:0", "--drain-seconds", "5"}
	process := exec.Command(command[0], append(append(command[1:], listen...), arguments...)...)
	process.Stderr = os.Stderr
	output, err := process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := process.Start(); err != nil {
		return nil, err
	}
	server := &Server{process: process}
	line, err := bufio.NewReader(output).ReadString('\n')
	var ready struct{ Address string }
	if err == nil {
		err = json.Unmarshal([]byte(line), &ready)
	}
	if err != nil {
		server.Kill()
		return nil, fmt.Errorf("%v did not start: %w", command, err)
	}
	server.Target = ready.Address
	return server, nil
}

// Kill kills the server's process and waits for its end.
func (s *Server) Kill() {
	_ = s.process.Process.Kill()
	_ = s.process.Wait()
}

// Stop drains the server and waits for its end.
func (s *Server) Stop() {
	_ = s.process.Process.Signal(syscall.SIGTERM)
	_ = s.process.Wait()
}

// Root returns the folder of the module.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "../..")
}
