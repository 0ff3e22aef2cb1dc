//! How to connect to a core: plaintext, TLS or mTLS, and as which principal.

use std::{
    error::Error,
    fs,
    time::{Duration, SystemTime},
};

use base64::{prelude::BASE64_URL_SAFE_NO_PAD, Engine};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use tonic::{
    service::Interceptor,
    transport::{Certificate, ClientTlsConfig, Endpoint, Identity},
    Request, Status,
};

/// Returns TLS by the PEM files of authorities, of our certificate and of its key (mTLS); None for plaintext.
pub fn tls(
    authorities: Option<&String>,
    certificate: Option<&String>,
    key: Option<&String>,
) -> Result<Option<ClientTlsConfig>, Box<dyn Error>> {
    let Some(authorities) = authorities else { return Ok(None) };
    let mut config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(authorities)?));
    if let (Some(certificate), Some(key)) = (certificate, key) {
        config = config.identity(Identity::from_pem(read(certificate)?, read(key)?));
    }
    Ok(Some(config))
}

fn read(file: &String) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| format!("{file}: {error}"))
}

/// Returns how a core, HOST:PORT, is connected to. A vanished core is detected within half a minute.
pub fn endpoint(core: &str, tls: Option<&ClientTlsConfig>) -> Result<Endpoint, Box<dyn Error>> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{core}"))?
        .connect_timeout(Duration::from_secs(5))
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
    if let Some(config) = tls {
        endpoint = endpoint.tls_config(config.clone())?;
    }
    Ok(endpoint)
}

/// Sends the principal with each call: a JWT (HS256), valid for a minute, in the metadata.
#[derive(Clone, Default)]
pub struct Principal {
    /// Empty to call as ourselves.
    pub name: String,
    /// The core's TOKENWIRE_PRINCIPAL_KEY.
    pub key: Vec<u8>,
}

impl Interceptor for Principal {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if !self.name.is_empty() {
            let token = self.token().map_err(|error| Status::unauthenticated(error.to_string()))?;
            let value = token.parse().map_err(|_| Status::unauthenticated("the principal can't be sent"))?;
            request.metadata_mut().insert("tokenwire-principal", value);
        }
        Ok(request)
    }
}

impl Principal {
    fn token(&self) -> Result<String, Box<dyn Error>> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let claims =
            serde_json::json!({"sub": self.name, "aud": "tokenwire-core", "iat": now, "exp": now + 60});
        let encode = |data: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(data);
        let signed = format!(
            "{}.{}",
            encode(br#"{"alg":"HS256","typ":"JWT"}"#),
            encode(claims.to_string().as_bytes())
        );
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key)?;
        mac.update(signed.as_bytes());
        Ok(format!("{signed}.{}", encode(&mac.finalize().into_bytes())))
    }
}
