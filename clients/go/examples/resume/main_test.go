package main

import (
	"bufio"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"holdfast.dev/go/internal/testserver"
)

func TestAKilledRunContinuesAndHasTheResultOfAnUndisturbedOne(t *testing.T) {
	server := testserver.Start(t, t.TempDir())
	program := filepath.Join(t.TempDir(), "resume")
	if output, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	whole, err := exec.Command(program, server.Target, "undisturbed").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, last := range []string{"saved step 3", "saved step 11"} {
		killed := exec.Command(program, server.Target, "killed")
		output, err := killed.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := killed.Start(); err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(output); lines.Scan() && lines.Text() != last; {
		}
		_ = killed.Process.Kill()
		_ = killed.Wait()
	}
	rest, err := exec.Command(program, server.Target, "killed").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(rest), "continued after step 1") || lastLine(rest) != lastLine(whole) {
		t.Fatalf("after two kills:\n%s\nundisturbed:\n%s", rest, whole)
	}
}

func lastLine(output []byte) string {
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	return lines[len(lines)-1]
}
