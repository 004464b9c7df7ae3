package holdfast

import (
	"context"
	"fmt"
	"regexp"
	"sync"
	"time"
)

// https://www.rfc-editor.org/rfc/rfc6750#section-2.1, in at most half of the metadata that servers accept.
var tokenText = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)

const (
	maxTokenBytes = 16384
	// A token that was accepted for so long has expired. One that is refused sooner is not replaced without a pause.
	acceptedTime = 5 * time.Second
)

// The token of one client: given for good, or taken from a function and kept until a server refuses it. It is in no
// error and no span.
type currentToken struct {
	source  func(context.Context) (string, error)
	isFixed bool
	// Ends when the client is closed.
	life context.Context
	// Has room for the call that takes a token. Others wait for it.
	taking chan struct{}

	mu   sync.Mutex
	kept string
}

func newToken(o *options, life context.Context) *currentToken {
	if o.token == nil {
		return nil
	}
	return &currentToken{source: o.token, isFixed: o.isTokenFixed, life: life, taking: make(chan struct{}, 1)}
}

// Returns the token, from its source if there is none yet.
func (t *currentToken) current(ctx context.Context, left time.Duration) (string, error) {
	if token := t.get(); token != "" {
		return token, nil
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	defer context.AfterFunc(t.life, cancel)()
	late := func() error {
		return of(ErrDeadlineExceeded, "token: the function that returns it took longer than %v", left)
	}
	select {
	case t.taking <- struct{}{}:
	case <-ctx.Done():
		return "", late()
	}
	defer func() { <-t.taking }()
	if ctx.Err() != nil || t.life.Err() != nil {
		return "", late()
	}
	if token := t.get(); token != "" {
		return token, nil
	}
	found, err := t.source(ctx)
	if ctx.Err() != nil {
		return "", late()
	}
	if err != nil {
		// The text of the cause might contain a secret.
		return "", of(ErrUnauthenticated, "token: the function that returns it failed with a %s", fmt.Sprintf("%T", err))
	}
	if err := requireToken(found); err != nil {
		return "", err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = found
	return found, nil
}

func (t *currentToken) get() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.kept
}

// Forgets a token that a server has refused. Reports whether there may be another one.
func (t *currentToken) refuse(token string) bool {
	if t.isFixed {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kept == token {
		t.kept = ""
	}
	return true
}

func requireToken(token string) error {
	if len(token) > maxTokenBytes || !tokenText.MatchString(token) {
		return invalid("token", "must be 1 to %d letters, digits and ._~+/-; what was given has %d characters",
			maxTokenBytes, len(token))
	}
	return nil
}

// Reports whether to send a call again with a new token: once, and whenever one has expired during a stream.
func (c *Client) mayRefresh(failure *Error, credentials string, hasRefreshed bool) bool {
	if failure.kind != ErrUnauthenticated || c.token == nil || credentials == "" || !c.token.refuse(credentials) {
		return false
	}
	_, wasAccepted := failure.Metadata["accepted"]
	return !hasRefreshed || wasAccepted
}
