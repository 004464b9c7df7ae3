package holdfast

import (
	"context"
	"fmt"
	"regexp"
	"time"
)

// https://www.rfc-editor.org/rfc/rfc6750#section-2.1, in at most half of the metadata that servers accept.
var tokenText = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)

const maxTokenBytes = 16384

// The token of one client: given for good, or taken from a function and kept until a server refuses it. It is in no
// error and no span.
type currentToken struct {
	source  func(context.Context) (string, error)
	isFixed bool
	// Holds the token, or "". A call that gets a token keeps the others waiting.
	kept chan string
}

func newToken(o *options) *currentToken {
	if o.token == nil {
		return nil
	}
	made := &currentToken{source: o.token, isFixed: o.isTokenFixed, kept: make(chan string, 1)}
	made.kept <- ""
	return made
}

// Returns the token, from its source if there is none yet.
func (t *currentToken) current(ctx context.Context, left time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	late := func() error {
		return of(ErrDeadlineExceeded, "token: the function that returns it took longer than %v", left)
	}
	var token string
	select {
	case token = <-t.kept:
	case <-ctx.Done():
		return "", late()
	}
	defer func() { t.kept <- token }()
	if token != "" {
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
	if len(found) > maxTokenBytes || !tokenText.MatchString(found) {
		return "", invalid("token", "must be 1 to %d letters, digits and ._~+/-; what was given has %d characters",
			maxTokenBytes, len(found))
	}
	token = found
	return token, nil
}

// Forgets a token that a server has refused. Reports whether there may be another one.
func (t *currentToken) refuse(token string) bool {
	if t.isFixed {
		return false
	}
	if kept := <-t.kept; kept == token {
		t.kept <- ""
	} else {
		t.kept <- kept
	}
	return true
}

// Reports whether to send a call again with a new token: once, and whenever one has expired during a stream.
func (c *Client) mayRefresh(failure *Error, credentials string, hasRefreshed bool) bool {
	if failure.kind != ErrUnauthenticated || c.token == nil || credentials == "" || !c.token.refuse(credentials) {
		return false
	}
	_, wasAccepted := failure.Metadata["accepted"]
	return !hasRefreshed || wasAccepted
}
