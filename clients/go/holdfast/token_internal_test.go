package holdfast

import (
	"context"
	"testing"
	"time"
)

func TestATokenIsRefusedWhileAnotherOneIsTaken(t *testing.T) {
	taking, taken := make(chan struct{}), make(chan struct{})
	made := newToken(&options{token: func(context.Context) (string, error) {
		close(taking)
		<-taken
		return "new", nil
	}}, t.Context())
	result := make(chan string)
	go func() {
		token, _ := made.current(t.Context(), time.Hour)
		result <- token
	}()
	<-taking
	if !made.refuse("old") {
		t.Fatal("there is another token")
	}
	close(taken)
	if token := <-result; token != "new" || made.refuse("old") == false || made.get() != "new" {
		t.Fatalf("the token is %q, and %q is kept", token, made.get())
	}
}
