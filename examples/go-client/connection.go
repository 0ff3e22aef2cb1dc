package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// dialOptions says how a core is connected to.
func dialOptions(given options) ([]grpc.DialOption, error) {
	transport, err := transportCredentials(given)
	if err != nil {
		return nil, err
	}
	how := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		// A peer that vanished without a word is noticed within half a minute.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}),
		// An address that does not answer is given up after 5 s. By default the pauses between attempts grow to two minutes.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
	}
	if given.principal != "" {
		how = append(how, grpc.WithPerRPCCredentials(principal{name: given.principal, key: given.principalKey}))
	}
	return how, nil
}

// transportCredentials returns TLS, with our certificate if there is one; without any of the options, plaintext.
func transportCredentials(given options) (credentials.TransportCredentials, error) {
	if given.tlsCA == "" && given.tlsCert == "" && given.tlsKey == "" {
		return insecure.NewCredentials(), nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if given.tlsCA != "" {
		authorities, err := os.ReadFile(given.tlsCA)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(authorities) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", given.tlsCA)
		}
	}
	if given.tlsCert != "" || given.tlsKey != "" {
		certificate, err := tls.LoadX509KeyPair(given.tlsCert, given.tlsKey)
		if err != nil {
			return nil, fmt.Errorf("--tls-cert and --tls-key: %w", err)
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return credentials.NewTLS(config), nil
}
