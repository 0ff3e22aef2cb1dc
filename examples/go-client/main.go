// Command go-client asks an agent, or follows a run, straight at the core: no edge, no browser, no HTTP.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.com/tokenwire/go-client/tokenwire"
	pb "example.com/tokenwire/go-client/tokenwire/v1"
)

//go:generate ./generate.sh

// What the process exits with: the same as examples/node-client.
const (
	exitDone        = 0
	exitFailed      = 1 // the run failed, or was refused
	exitUsage       = 2
	exitUnreachable = 3 // no core, or none that we trust, or that trusts us
	exitLost        = 4 // the stream was lost; the run may go on
	exitStopped     = 130
	exitPipe        = 141 // nobody reads the answer any more, as after `head`
)

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(arguments []string) int {
	given, err := parse(arguments)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Println(usage)
		return exitDone
	} else if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitUsage
	}
	how, err := given.dialOptions()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitUsage
	}
	client, err := tokenwire.NewClient(given.cores, how...)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitUsage
	}
	defer client.Close()
	client.Patience = given.patience
	client.Notice = say
	return ask(given, client)
}

// ask reads a run to its end, and returns the exit status.
func ask(given options, client *tokenwire.Client) int {
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	if given.deadline > 0 {
		ctx, leave = context.WithTimeout(ctx, given.deadline)
		defer leave()
	}
	run := begin(ctx, given, client)
	defer run.Close()
	signal.Ignore(syscall.SIGPIPE) // writing fails instead: then there is a run to stop
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	stopper := &stopper{run: run, leave: leave}
	go stopper.heed(ctx, signals)

	err := show(ctx, given, run)
	switch {
	case errors.Is(err, syscall.EPIPE):
		if err := run.Stop(ctx); err != nil {
			say(tokenwire.Describe(err))
		}
		return exitPipe
	case stopper.stopped.Load():
		return exitStopped
	}
	return conclude(given, run, err)
}

// begin returns the run that is asked for, or the one that is to be followed.
func begin(ctx context.Context, given options, client *tokenwire.Client) *tokenwire.Run {
	if given.run != "" {
		return client.Follow(ctx, given.run, given.after)
	}
	return client.Start(ctx, &pb.RunSpec{Message: given.message, Agent: given.agent, SessionId: given.session})
}

// show prints a run's events to its end.
func show(ctx context.Context, given options, run *tokenwire.Run) error {
	write := printer(given.json, os.Stdout, os.Stderr)
	deltas := 0
	for run.Next() {
		event := run.Event()
		if err := write(event); err != nil {
			return err
		}
		if event.GetTextDelta() == nil {
			continue
		}
		if deltas++; deltas == given.cancelAfter {
			// The stream goes on to its terminal event: done, with the reason "cancelled".
			if err := run.Stop(ctx); err != nil {
				return err
			}
		}
	}
	return run.Err()
}

func say(line string) {
	fmt.Fprintln(os.Stderr, line)
}

// conclude says what became of a run, and returns the exit status for it.
func conclude(given options, run *tokenwire.Run, err error) int {
	if err == nil {
		if run.Outcome() == "done" {
			return exitDone
		}
		return exitFailed
	}
	say(tokenwire.Describe(err))
	code := status.Code(err)
	switch {
	case given.run == "" && code == codes.DeadlineExceeded:
		return exitFailed // the call's deadline is the run's too: there is nothing to go on with
	case tokenwire.IsRefusal(err):
		return exitFailed // the core itself refused, and would again
	case run.ID() != "" && run.Cursor() != nil:
		say(fmt.Sprintf("the stream ended before the run; go on with: --run %s --after %s",
			run.ID(), eventID(run.ID(), run.Cursor())))
		return exitLost
	case code == codes.Unavailable:
		return exitUnreachable
	}
	return exitFailed
}
