package main

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	pb "example.com/tokenwire/go-client/tokenwire/v1"
)

// cores are the addresses of cores that serve the same runs. One of them is connected to at a time.
type cores struct {
	addresses []string
	options   []grpc.DialOption

	mutex      sync.Mutex
	tried      int // how many addresses were left; the next one is taken in turn
	connection *grpc.ClientConn
	reached    bool // a core has answered, if only with its TLS
}

// client returns a client of the present core, once it is connected or has failed to: then the first call says why.
func (c *cores) client(ctx context.Context) (pb.AgentServiceClient, error) {
	connection, err := c.open()
	if err != nil {
		return nil, err
	}
	connection.Connect()
	for state := connection.GetState(); isOnItsWay(state); state = connection.GetState() {
		if !connection.WaitForStateChange(ctx, state) {
			break
		}
	}
	if connection.GetState() == connectivity.Ready {
		c.mutex.Lock()
		c.reached = true
		c.mutex.Unlock()
	}
	return pb.NewAgentServiceClient(connection), nil
}

func isOnItsWay(state connectivity.State) bool {
	return state == connectivity.Idle || state == connectivity.Connecting
}

func (c *cores) open() (*grpc.ClientConn, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.connection != nil {
		return c.connection, nil
	}
	var err error
	c.connection, err = grpc.NewClient(c.addresses[c.tried%len(c.addresses)], c.options...)
	return c.connection, err
}

// next leaves the present core for the one that is next in turn, with a connection of its own.
func (c *cores) next() {
	c.close()
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.tried++
}

// isOutOfReach tells whether every address was tried, and none has answered.
func (c *cores) isOutOfReach() bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return !c.reached && c.tried+1 >= len(c.addresses)
}

func (c *cores) close() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.connection != nil {
		c.connection.Close()
		c.connection = nil
	}
}
