package main

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	pb "example.com/tokenwire/go-client/tokenwire/v1"
)

// cancelRun stops a run at whichever core is connected to, however often that has to be tried. It is idempotent.
func cancelRun(ctx context.Context, at *cores, runID string, patience time.Duration) error {
	began := time.Now()
	for try := 0; ; try++ {
		err := tryCancelRun(ctx, at, runID)
		if err == nil || isFinal(err) || time.Since(began) > patience {
			return err
		}
		if err := sleep(ctx, pauseBefore(try, chance())); err != nil {
			return err
		}
	}
}

func tryCancelRun(ctx context.Context, at *cores, runID string) error {
	ctx, cancel := context.WithTimeout(ctx, unaryTimeout)
	defer cancel()
	client, err := at.client(ctx)
	if err != nil {
		return err
	}
	_, err = client.CancelRun(ctx, &pb.CancelRunRequest{RunId: runID, Cause: pb.CancelCause_CANCEL_CAUSE_STOP})
	return err
}

// A stopper turns the first signal into CancelRun, and the second into an end at once.
type stopper struct {
	cores    *cores
	patience time.Duration
	known    <-chan string // yields the run's id once it is known
	leave    func()        // ends the reading
	say      func(string)
}

// heed waits for signals until the context ends. The reading goes on to the terminal event that a stop brings.
func (s *stopper) heed(ctx context.Context, signals <-chan os.Signal, stopped *atomic.Bool) {
	select {
	case <-signals:
		stopped.Store(true)
	case <-ctx.Done():
		return
	}
	s.say("stopping the run (again to leave at once)")
	go s.stop(ctx)
	select {
	case <-signals:
		s.leave()
	case <-ctx.Done():
	}
}

func (s *stopper) stop(ctx context.Context) {
	select {
	case runID := <-s.known:
		if err := cancelRun(ctx, s.cores, runID, s.patience); err != nil && ctx.Err() == nil {
			s.say(fmt.Sprintf("the run could not be stopped: %s", describe(err)))
			s.leave()
		}
	case <-ctx.Done():
	}
}
