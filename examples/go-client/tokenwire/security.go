package tokenwire

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"google.golang.org/grpc/credentials"
)

// TLS returns how a core is trusted, by the authorities of a PEM file or the system's, and how we are, by a certificate
// and its key (mTLS). Empty names leave them out.
func TLS(authorities, certificate, key string) (credentials.TransportCredentials, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if authorities != "" {
		content, err := os.ReadFile(authorities)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", authorities)
		}
	}
	if certificate != "" || key != "" {
		ours, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			return nil, fmt.Errorf("certificate and key: %w", err)
		}
		config.Certificates = []tls.Certificate{ours}
	}
	return credentials.NewTLS(config), nil
}
