// Command go-client asks an agent, or follows a run, straight at the core: no edge, no browser, no HTTP.
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
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
	how, err := dialOptions(given)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitUsage
	}
	at := &cores{addresses: given.cores, options: how}
	defer at.close()
	return ask(given, at)
}

// ask reads a run to its end, and returns the exit status.
func ask(given options, at *cores) int {
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	if given.deadline > 0 {
		ctx, leave = context.WithTimeout(ctx, given.deadline)
		defer leave()
	}
	known := make(chan string, 1)
	reader := &reader{
		cores:       at,
		spec:        spec(given),
		patience:    given.patience,
		show:        printer(given.json, os.Stdout, os.Stderr),
		say:         say,
		known:       known,
		cancelAfter: given.cancelAfter,
		at:          position{runID: given.run, cursor: given.after},
	}
	signal.Ignore(syscall.SIGPIPE) // writing fails instead: then there is a run to stop
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	stopper := &stopper{cores: at, patience: given.patience, known: known, leave: leave, say: say}
	var stopped atomic.Bool
	go stopper.heed(ctx, signals, &stopped)

	err := reader.read(ctx)
	switch {
	case errors.Is(err, syscall.EPIPE):
		if err := cancelRun(ctx, at, reader.at.runID, given.patience); err != nil {
			say(describe(err))
		}
		return exitPipe
	case stopped.Load():
		return exitStopped
	}
	return conclude(given, reader, err)
}

func say(line string) {
	fmt.Fprintln(os.Stderr, line)
}

// spec returns the run to start. Its request id names the same run however often the start is sent; a connection
// that broke is mended by following, so that only CancelRun stops it at once.
func spec(given options) *pb.RunSpec {
	return &pb.RunSpec{
		Message:      given.message,
		Agent:        given.agent,
		SessionId:    given.session,
		RequestId:    newRequestID(),
		OnDisconnect: pb.OnDisconnect_ON_DISCONNECT_GRACE,
	}
}

func newRequestID() string {
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		panic(err) // the system has no randomness: there is nothing to go on with
	}
	return hex.EncodeToString(id)
}

// conclude says what became of a run, and returns the exit status for it.
func conclude(given options, reader *reader, err error) int {
	if err == nil {
		if reader.at.outcome == "done" {
			return exitDone
		}
		return exitFailed
	}
	say(describe(err))
	code := status.Code(err)
	switch {
	case given.run == "" && code == codes.DeadlineExceeded:
		return exitFailed // the call's deadline is the run's too: there is nothing to go on with
	case isRich(err) && isFinal(err):
		return exitFailed // the core itself refused, and would again
	case reader.at.runID != "" && reader.at.resumeAt() != nil:
		say(fmt.Sprintf("the stream ended before the run; go on with: --run %s --after %s",
			reader.at.runID, eventID(reader.at.runID, reader.at.resumeAt())))
		return exitLost
	case code == codes.Unavailable:
		return exitUnreachable
	}
	return exitFailed
}
