package tokenwire

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"time"
)

// A Principal is sent with each call as a JWT (HS256) in the metadata: use it with grpc.WithPerRPCCredentials.
type Principal struct {
	Name string
	Key  []byte // the core's TOKENWIRE_PRINCIPAL_KEY
}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (p Principal) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	token, err := p.token(time.Now())
	return map[string]string{"tokenwire-principal": token}, err
}

// RequireTransportSecurity implements credentials.PerRPCCredentials. On loopback a core may do without TLS; over
// a network whoever reads the token can use it for the minute that it is good for.
func (Principal) RequireTransportSecurity() bool { return false }

// token returns the proof. It is good for a minute from now.
func (p Principal) token(now time.Time) (string, error) {
	claims, err := json.Marshal(struct {
		Subject  string `json:"sub"`
		Audience string `json:"aud"`
		Issued   int64  `json:"iat"`
		Expires  int64  `json:"exp"`
	}{p.Name, "tokenwire-core", now.Unix(), now.Add(time.Minute).Unix()})
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode(claims)
	mac := hmac.New(sha256.New, p.Key)
	mac.Write([]byte(signed))
	return signed + "." + encode(mac.Sum(nil)), nil
}
