package tokenwire

import (
	"context"
	"crypto/rand"
	"math/big"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	firstPause   = 100 * time.Millisecond
	longestPause = time.Second
)

// isFinal tells whether a call that failed would fail again. Pure.
//
// A core's own refusal is final unless it says when to come back (RetryInfo). What the transport reports is not the
// core's word: a connection that broke or was reset, a proxy without a backend.
func isFinal(err error) bool {
	failure, isStatus := status.FromError(err)
	switch {
	case !isStatus: // ours, such as an address that is none
		return true
	case isRich(err):
		return RetryAfter(err) == 0
	}
	switch failure.Code() {
	case codes.Unavailable, codes.Internal, codes.Unknown, codes.Canceled:
		return false
	}
	return true
}

// pauseBefore returns how long to wait before a try, counted from 0 after the last contact. Pure.
//
// chance is from 0 to 1: it spreads the clients of a core that has died over half of the pause.
func pauseBefore(try int, chance float64) time.Duration {
	pause := longestPause
	if try < 8 && firstPause<<try < longestPause {
		pause = firstPause << try
	}
	return pause - time.Duration(chance*float64(pause)/2)
}

// chance returns a number from 0 to 1.
func chance() float64 {
	const steps = 1 << 20
	number, err := rand.Int(rand.Reader, big.NewInt(steps))
	if err != nil {
		return 0 // the whole pause
	}
	return float64(number.Int64()) / steps
}

// sleep waits, or returns the status of a context that ended before.
func sleep(ctx context.Context, duration time.Duration) error {
	select {
	case <-time.After(duration):
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

func longest(durations ...time.Duration) time.Duration {
	var most time.Duration
	for _, duration := range durations {
		if duration > most {
			most = duration
		}
	}
	return most
}
