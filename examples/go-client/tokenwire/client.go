// Package tokenwire reads the runs of a Tokenwire core: each event once, in order, over several calls and cores if needed.
//
//	client, err := tokenwire.NewClient([]string{"127.0.0.1:50051"}, grpc.WithTransportCredentials(insecure.NewCredentials()))
//	...
//	run := client.Start(ctx, &pb.RunSpec{Message: "List three fruits."})
//	defer run.Close()
//	for run.Next() {
//		fmt.Print(run.Event().GetTextDelta().GetContent())
//	}
//	if err := run.Err(); err != nil {
//		log.Fatal(tokenwire.Describe(err)) // run.ID() and run.Cursor() tell where client.Follow can go on
//	}
//
// It follows the rules of docs/grpc.md, "Following again".
package tokenwire

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/keepalive"

	pb "example.com/tokenwire/go-client/tokenwire/v1"
)

const (
	// DefaultPatience is how long a client tries without contact to a core.
	DefaultPatience = 10 * time.Second

	// unaryTimeout is how long one CancelRun or GetRun may take.
	unaryTimeout = 5 * time.Second
)

// A Client calls cores that serve the same runs. All of its methods may be called at the same time. Its fields are
// set before the first call.
type Client struct {
	// Patience is how long a call is repeated without contact to a core.
	Patience time.Duration

	// Notice receives messages that are not part of a run: a stream broke, the log is not available. Nil for none.
	Notice func(string)

	addresses []string
	options   []grpc.DialOption

	mutex   sync.Mutex
	tried   int   // how many connections were left; the next one is to the next address in turn
	current *link // what new calls use; nil when it is still to be made
	reached bool  // a core has answered, if only with its TLS
}

// A link is a connection to one core. It is closed when it was left, or its client was closed, and no call uses it.
type link struct {
	connection *grpc.ClientConn
	users      int
	isLeft     bool
}

// NewClient returns a client of cores at HOST:PORT, which share a store where there are several. Nothing is
// connected yet. The options go on from ConnectionOptions and must say how the transport is secured.
func NewClient(addresses []string, options ...grpc.DialOption) (*Client, error) {
	if len(addresses) == 0 {
		return nil, errors.New("no address of a core is given")
	}
	client := &Client{
		Patience:  DefaultPatience,
		addresses: append([]string{}, addresses...),
		options:   append(ConnectionOptions(), options...),
	}
	return client, nil
}

// ConnectionOptions says how connections are kept: a core that vanished is noticed, one that came back is reached soon.
func ConnectionOptions() []grpc.DialOption {
	return []grpc.DialOption{
		// A peer that vanished without a word is noticed within half a minute.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}),
		// An address that does not answer is given up after 5 s. By default the pauses between attempts grow to two minutes.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
	}
}

// Cancel stops a run at whichever core answers, retrying as needed. It is idempotent.
func (c *Client) Cancel(ctx context.Context, runID string) error {
	began := time.Now()
	for try := 0; ; try++ {
		at, err := c.cancelOnce(ctx, runID)
		if err == nil || isFinal(err) || time.Since(began) > c.Patience {
			return err
		}
		c.leave(at)
		if err := sleep(ctx, pauseBefore(try, chance())); err != nil {
			return err
		}
	}
}

func (c *Client) cancelOnce(ctx context.Context, runID string) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, unaryTimeout)
	defer cancel()
	at, err := c.use(ctx)
	if err != nil {
		return nil, err
	}
	defer c.release(at)
	request := &pb.CancelRunRequest{RunId: runID, Cause: pb.CancelCause_CANCEL_CAUSE_STOP}
	_, err = pb.NewAgentServiceClient(at.connection).CancelRun(ctx, request)
	return at, err
}

// Close ends the client's connection. Runs that are still read lose theirs.
func (c *Client) Close() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.current != nil {
		c.current.connection.Close()
		c.current = nil
	}
}

// use returns the present link once it is connected or has failed to: then the first call says why. It has to be released.
func (c *Client) use(ctx context.Context) (*link, error) {
	at, err := c.open()
	if err != nil {
		return nil, err
	}
	at.connection.Connect()
	for state := at.connection.GetState(); isOnItsWay(state); state = at.connection.GetState() {
		if !at.connection.WaitForStateChange(ctx, state) {
			break
		}
	}
	if at.connection.GetState() == connectivity.Ready {
		c.mutex.Lock()
		c.reached = true
		c.mutex.Unlock()
	}
	return at, nil
}

func isOnItsWay(state connectivity.State) bool {
	return state == connectivity.Idle || state == connectivity.Connecting
}

func (c *Client) open() (*link, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.current == nil {
		connection, err := grpc.NewClient(c.addresses[c.tried%len(c.addresses)], c.options...)
		if err != nil {
			c.tried++
			return nil, err
		}
		c.current = &link{connection: connection}
	}
	c.current.users++
	return c.current, nil
}

func (c *Client) release(at *link) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	at.users--
	if at.isLeft && at.users == 0 {
		at.connection.Close()
	}
}

// leave has new calls made to the address that is next in turn, over a connection of their own. Calls that still use
// the link go on; one that another call has left already is left once.
func (c *Client) leave(at *link) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if at == nil || at.isLeft {
		return
	}
	at.isLeft = true
	if at == c.current {
		c.current = nil
		c.tried++
	}
	if at.users == 0 {
		at.connection.Close()
	}
}

func (c *Client) wasReached() bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.reached
}

func (c *Client) notice(line string) {
	if c.Notice != nil {
		c.Notice(line)
	}
}
