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
	connection, err := dial(given)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitUsage
	}
	defer connection.Close()

	// Leaving ends the call, and with it a run that was started here.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if given.deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, given.deadline)
		defer cancel()
	}

	reader := &reader{
		client:      pb.NewAgentServiceClient(connection),
		show:        printer(given.json, os.Stdout, os.Stderr),
		cancelAfter: given.cancelAfter,
	}
	if given.follow != "" {
		err = reader.follow(ctx, given.follow, given.after)
	} else {
		err = reader.start(ctx, &pb.RunSpec{
			Message:   given.message,
			Agent:     given.agent,
			SessionId: given.session,
		})
	}
	return conclude(given, reader, err)
}

// conclude says what became of a run, and returns the exit status for it.
func conclude(given options, reader *reader, err error) int {
	if err == nil {
		if reader.outcome == "done" {
			return exitDone
		}
		return exitFailed
	}
	fmt.Fprintln(os.Stderr, describe(err))
	code := status.Code(err)
	switch {
	case given.follow == "" && code == codes.DeadlineExceeded:
		return exitFailed // the call's deadline is the run's too: there is nothing to go on with
	case isRich(err) && code != codes.Unavailable:
		return exitFailed // the core itself refused, and would again
	case reader.last != nil:
		fmt.Fprintf(os.Stderr, "the stream ended before the run; go on with: --follow %s --after %s\n",
			reader.runID, eventID(reader.runID, reader.last))
		return exitLost
	case code == codes.Unavailable:
		return exitUnreachable
	}
	return exitFailed
}
