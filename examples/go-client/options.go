package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"example.com/tokenwire/go-client/tokenwire"
	pb "example.com/tokenwire/go-client/tokenwire/v1"
)

const usage = `Usage: go-client [options] MESSAGE
       go-client [options] --run RUN_ID [--after ID]

  --core HOST:PORT,...  the core (TOKENWIRE_CORE)          [127.0.0.1:50051]
                        or several that share a store: tried in turn
  --agent NAME          the agent                          [the core's default]
  --session ID          the conversation
  --deadline SECONDS    the call's deadline, which is the run's too
  --cancel-after N      stop the run after N text deltas
  --run RUN_ID          follow a run instead of starting one
  --after ID            ... after this event: RUN_ID.EPOCH.SEQUENCE, or a sequence
  --patience SECONDS    how long to go on trying without contact to a core  [10]
  --json                one line of JSON an event: the message of the contract as ProtoJSON

  --tls-ca FILE         authorities that vouch for the core        [the system's]
  --tls-cert FILE       our certificate, where the core wants one (mTLS)
  --tls-key FILE        ... and its key; any of the three turns TLS on
  --principal NAME      on whose behalf we call
  --principal-key FILE  what proves it: the core's TOKENWIRE_PRINCIPAL_KEY [that variable]

Ctrl-C stops the run; a second one leaves at once.

Exit status: 0 done, 1 the run failed or was refused, 2 wrong usage, 3 no core, 4 the stream was lost, 130 stopped.`

// options is what the command line says.
type options struct {
	cores                   []string
	agent, session, message string

	deadline    time.Duration // 0 for none
	patience    time.Duration
	cancelAfter int // 0 for never
	json        bool

	run   string
	after *pb.Cursor // nil to begin with the first event

	tlsCA, tlsCert, tlsKey string
	principal              string
	principalKey           []byte
}

// addresses is a flag that may be repeated, and holds one address or several with commas between.
type addresses []string

func (a *addresses) String() string { return strings.Join(*a, ",") }

func (a *addresses) Set(text string) error {
	for _, address := range strings.Split(text, ",") {
		if address = strings.TrimSpace(address); address == "" {
			return errors.New("an address is empty")
		}
		*a = append(*a, address)
	}
	return nil
}

// parse reads the command line. The error's text is for the user; flag.ErrHelp means that help is wanted.
func parse(arguments []string) (options, error) {
	var given options
	var after, keyFile string
	var seconds, patience float64
	flags := flag.NewFlagSet("go-client", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Var((*addresses)(&given.cores), "core", "")
	flags.StringVar(&given.agent, "agent", "", "")
	flags.StringVar(&given.session, "session", "", "")
	flags.Float64Var(&seconds, "deadline", 0, "")
	flags.IntVar(&given.cancelAfter, "cancel-after", 0, "")
	flags.Float64Var(&patience, "patience", 10, "")
	flags.StringVar(&given.run, "run", "", "")
	flags.StringVar(&after, "after", "", "")
	flags.BoolVar(&given.json, "json", false, "")
	flags.StringVar(&given.tlsCA, "tls-ca", "", "")
	flags.StringVar(&given.tlsCert, "tls-cert", "", "")
	flags.StringVar(&given.tlsKey, "tls-key", "", "")
	flags.StringVar(&given.principal, "principal", "", "")
	flags.StringVar(&keyFile, "principal-key", "", "")
	if err := flags.Parse(arguments); errors.Is(err, flag.ErrHelp) {
		return given, err
	} else if err != nil {
		return given, fmt.Errorf("%w\n\n%s", err, usage)
	}
	if (flags.NArg() == 1) == (given.run != "") || flags.NArg() > 1 {
		return given, fmt.Errorf("give either one MESSAGE, after the options, or --run\n\n%s", usage)
	}
	if seconds < 0 || patience < 0 || given.cancelAfter < 0 {
		return given, fmt.Errorf("--deadline, --patience and --cancel-after want a positive number\n\n%s", usage)
	}
	given.message = flags.Arg(0)
	given.deadline = time.Duration(seconds * float64(time.Second))
	given.patience = time.Duration(patience * float64(time.Second))
	var err error
	if len(given.cores) == 0 {
		err = (*addresses)(&given.cores).Set(environment("TOKENWIRE_CORE", "127.0.0.1:50051"))
	}
	if err != nil {
		return given, fmt.Errorf("TOKENWIRE_CORE: %w", err)
	}
	if given.after, err = parseCursor(after); err != nil {
		return given, err
	}
	if given.principal != "" || keyFile != "" {
		given.principalKey, err = readPrincipalKey(given.principal, keyFile)
	}
	return given, err
}

func environment(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

// readPrincipalKey returns the key, which is never an argument: others can see those.
func readPrincipalKey(principal, file string) ([]byte, error) {
	key := os.Getenv("TOKENWIRE_PRINCIPAL_KEY")
	if file != "" {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		key = strings.TrimRight(string(content), "\r\n")
	}
	if principal == "" || key == "" {
		return nil, errors.New("--principal needs a key, and --principal-key a principal")
	}
	return []byte(key), nil
}

// dialOptions says how a core is connected to: over TLS when any of the options for it is given, else in plaintext.
func (o options) dialOptions() ([]grpc.DialOption, error) {
	transport, err := insecure.NewCredentials(), error(nil)
	if o.tlsCA != "" || o.tlsCert != "" || o.tlsKey != "" {
		transport, err = tokenwire.TLS(o.tlsCA, o.tlsCert, o.tlsKey)
	}
	how := []grpc.DialOption{grpc.WithTransportCredentials(transport)}
	if o.principal != "" {
		how = append(how, grpc.WithPerRPCCredentials(tokenwire.Principal{Name: o.principal, Key: o.principalKey}))
	}
	return how, err
}

// eventID returns an event's id, RUN_ID.EPOCH.SEQUENCE: what --after takes, and browsers know too.
func eventID(runID string, at *pb.Cursor) string {
	epoch := at.Epoch
	if epoch == 0 {
		epoch = 1 // as the contract reads it
	}
	return fmt.Sprintf("%s.%d.%d", runID, epoch, at.Sequence)
}

// parseCursor returns the position that an event's id, or a mere sequence, names; nil for none.
func parseCursor(text string) (*pb.Cursor, error) {
	if text == "" {
		return nil, nil
	}
	parts := strings.Split(text, ".")
	sequence, err := strconv.ParseUint(parts[len(parts)-1], 10, 64)
	epoch := uint64(1)
	if err == nil && len(parts) > 1 {
		epoch, err = strconv.ParseUint(parts[len(parts)-2], 10, 32)
	}
	if err != nil {
		return nil, fmt.Errorf("--after %s names no event", text)
	}
	return &pb.Cursor{Epoch: uint32(epoch), Sequence: sequence}, nil
}
