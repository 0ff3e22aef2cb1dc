package main

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"

	"example.com/tokenwire/go-client/tokenwire"
)

// A stopper turns the first signal into CancelRun, and the second into an end at once.
type stopper struct {
	run     *tokenwire.Run
	leave   func() // ends the reading
	stopped atomic.Bool
}

// heed waits for signals until the context ends. The reading goes on to the terminal event that a stop brings.
func (s *stopper) heed(ctx context.Context, signals <-chan os.Signal) {
	select {
	case <-signals:
		s.stopped.Store(true)
	case <-ctx.Done():
		return
	}
	say("stopping the run (again to leave at once)")
	go s.stop(ctx)
	select {
	case <-signals:
		s.leave()
	case <-ctx.Done():
	}
}

func (s *stopper) stop(ctx context.Context) {
	if err := s.run.Stop(ctx); err != nil && ctx.Err() == nil {
		say(fmt.Sprintf("the run could not be stopped: %s", tokenwire.Describe(err)))
		s.leave()
	}
}
