package holdfast

import (
	"errors"
	"testing"
	"time"
)

func TestProgressGivesACallOfManyRequestsItsTimeAgain(t *testing.T) {
	spent := newBudget(time.Nanosecond)
	request := func(time.Duration) error {
		time.Sleep(time.Microsecond)
		return nil
	}
	if err := spent.spend(request); err != nil {
		t.Fatal(err)
	}
	if err := spent.spend(request); !errors.Is(err, ErrDeadlineExceeded) {
		t.Fatalf("%v", err)
	}
	spent.renew(time.Minute)
	if err := spent.spend(request); err != nil || spent.left > time.Minute {
		t.Fatalf("%v, %v left", err, spent.left)
	}
}
