package holdfast

import (
	"math"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	maxServerDelay   = 30 * time.Second
	tokensPerSuccess = 0.1
	minAttempt       = 100 * time.Millisecond
	// Longer than keepalive takes to notice a hung connection, so that the next attempt uses another one.
	usualAttempt = keepaliveTime + keepaliveTimeout + time.Second
)

// RetryPolicy says how a client retries its calls, each within the deadline of the call: with exponential backoff, full
// jitter, and a bucket of tokens that all calls of the client share. A retry takes a token. A success gives a tenth of a
// token back, and so does time. This way a dead server is not flooded, and callers still retry when it is back.
type RetryPolicy struct {
	// InitialBackoff is the upper bound of the first pause; it doubles with each further pause.
	InitialBackoff time.Duration
	// MaxBackoff is the largest upper bound.
	MaxBackoff time.Duration
	// AttemptTimeout is the most time that one attempt may take. 0: 14 seconds for calls that a server answers at once,
	// and all the time that is left for streams and for calls whose work grows with the size of what is stored.
	AttemptTimeout time.Duration
	// BurstRetries is how many retries the client's calls may make in a row; 0: none.
	BurstRetries float64
	// RetriesPerSecond is how many more retries each second allows. A retry waits for its token if there is time.
	RetriesPerSecond float64
}

// DefaultRetryPolicy returns the policy of a client that sets no other: pauses of up to 50 ms, doubling to 5 s, with 50
// retries in a row and 5 more each second.
func DefaultRetryPolicy() RetryPolicy {
	return RetryPolicy{
		InitialBackoff:   50 * time.Millisecond,
		MaxBackoff:       5 * time.Second,
		BurstRetries:     50,
		RetriesPerSecond: 5,
	}
}

func (p RetryPolicy) check() error {
	for _, each := range []struct {
		name  string
		value time.Duration
	}{{"InitialBackoff", p.InitialBackoff}, {"MaxBackoff", p.MaxBackoff}, {"AttemptTimeout", p.AttemptTimeout}} {
		if each.value < 0 {
			return invalid("retry."+each.name, "must not be negative, not %v", each.value)
		}
	}
	if !(p.BurstRetries >= 0) || !(p.RetriesPerSecond >= 0) {
		return invalid("retry", "BurstRetries and RetriesPerSecond must not be negative, not %v and %v",
			p.BurstRetries, p.RetriesPerSecond)
	}
	return nil
}

// Returns how long to wait after a failed attempt; 1 is the first.
func (p RetryPolicy) pause(attempt int, failure *Error) time.Duration {
	bound := math.Min(float64(p.MaxBackoff), float64(p.InitialBackoff)*math.Exp2(float64(min(attempt-1, 30))))
	return time.Duration(rand.Float64()*bound) + min(failure.RetryAfter, maxServerDelay)
}

// The retry tokens of a client.
type bucket struct {
	capacity  float64
	perSecond float64

	mu       sync.Mutex
	tokens   float64
	refilled time.Time
}

func newBucket(policy RetryPolicy) *bucket {
	made := &bucket{capacity: policy.BurstRetries, tokens: policy.BurstRetries, refilled: time.Now()}
	if policy.BurstRetries > 0 {
		made.perSecond = policy.RetriesPerSecond
	}
	return made
}

// Notes an attempt that the server answered.
func (b *bucket) succeeded() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(tokensPerSuccess)
}

// Takes a token for a retry that may wait for it until the call's time is up. Returns how long it must wait; false if
// that is longer. Then no token is taken.
func (b *bucket) take(left time.Duration) (time.Duration, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(0)
	missing := 1 - b.tokens
	if missing > 0 && (b.perSecond == 0 || missing/b.perSecond >= left.Seconds()) {
		return 0, false
	}
	b.tokens--
	if missing <= 0 {
		return 0, true
	}
	return time.Duration(missing / b.perSecond * float64(time.Second)), true
}

func (b *bucket) add(tokens float64) {
	now := time.Now()
	tokens += now.Sub(b.refilled).Seconds() * b.perSecond
	b.refilled = now
	b.tokens = math.Min(b.capacity, b.tokens+tokens)
}

// The time of a logical call that takes several requests, such as the pages of a list. The caller's own time between
// them does not count.
type budget struct {
	all  time.Duration
	left time.Duration
}

func newBudget(all time.Duration) *budget { return &budget{all, all} }

// Gives the call all of its time again, because a request has made progress.
func (b *budget) renew(all time.Duration) { b.all, b.left = all, all }

// Counts the time of a request.
func (b *budget) spend(request func(left time.Duration) error) error {
	if b.left <= 0 {
		return of(ErrDeadlineExceeded, "the %v for all requests of the call passed before its end", b.all)
	}
	began := time.Now()
	defer func() { b.left -= time.Since(began) }()
	return request(b.left)
}
