//! The source `kubelet`: one question to the `/pods` endpoint of the node's kubelet.
//!
//! Over HTTPS with a bearer token, a client certificate or both; over plain HTTP (the read-only port) with neither. Files
//! are read again for each question, for tokens and certificates are renewed while we run. What the answer means is not
//! decided here.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cri_gc_config::Kubelet;
use http::header::{ACCEPT, AUTHORIZATION};
use http::uri::InvalidUri;
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme, WantsVerifier,
};

use crate::error::{ServerFailure, SourceError};
use crate::http_body;
use cri_gc_kit::text::causes;
use cri_gc_kit::workers::Workers;

/// How long the kubelet may take for its whole answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A token is about 1 KiB.
const LONGEST_TOKEN: u64 = 64 * 1024;

/// What to do about an error that the kubelet answers.
fn advice(code: StatusCode) -> &'static str {
    match code {
        StatusCode::UNAUTHORIZED => {
            ": it does not accept the token of pods.kubelet.token_file or the client certificate; for tokens, enable \
             authentication.webhook in the configuration of the kubelet"
        }
        StatusCode::FORBIDDEN => {
            ": the token or certificate needs the right to get nodes/pods (or nodes/proxy, before Kubernetes 1.33)"
        }
        StatusCode::NOT_FOUND => "; pods.kubelet.url has to end in /pods",
        _ => "",
    }
}

/// Asks the kubelet for its pods, and returns what it says.
///
/// # Errors
/// Why it could not be asked.
pub async fn ask(settings: &Kubelet, files: &Workers) -> Result<String, SourceError> {
    let url = settings.url.clone();
    let bad = |why: String| {
        let text =
            format!("pods.kubelet.url \"{url}\" is not a valid URL: {why}; write https://HOST:10250/pods");
        SourceError::server(ServerFailure::Address, text)
    };
    let unread = |why: String| {
        let text = format!("the answer of the kubelet at {url} could not be read: {why}");
        SourceError::server(ServerFailure::Answer, text)
    };
    let uri: Uri = url.parse().map_err(|error: InvalidUri| bad(error.to_string()))?;
    let secure = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(bad("it begins with neither https:// nor http://".to_owned())),
    };
    // A token must not travel in the clear, so without TLS there is none, and no certificates are needed.
    let (token, tls) = if secure {
        let settings = settings.clone();
        let read = files.run_within(ANSWER_WITHIN, move || credentials(&settings)).await;
        read.map_err(|gone| unread(gone.to_string()))??
    } else {
        (None, tls()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
    };
    let mut request = Request::get(uri).header(ACCEPT, "application/json");
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, token);
    }
    let request = request.body(Empty::<&[u8]>::new()).map_err(|error| bad(error.to_string()))?;
    // A connection of its own for each question: nothing to keep alive between two of them, ten seconds apart.
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
    let asking = async {
        let answer = client.request(request).await.map_err(|error| unreachable(&url, &error))?;
        let code = answer.status();
        if code != StatusCode::OK {
            let text = format!("the kubelet at {url} answered {code}{}", advice(code));
            return Err(SourceError::server(ServerFailure::Status(code), text));
        }
        let body = http_body::read(answer.into_body()).await.map_err(unread)?;
        String::from_utf8(body).map_err(|error| unread(error.to_string()))
    };
    let asked = tokio::time::timeout(ANSWER_WITHIN, asking).await;
    asked.unwrap_or_else(|_| {
        let text = format!("the kubelet at {url} has not answered within {}s", ANSWER_WITHIN.as_secs());
        Err(SourceError::server(ServerFailure::Deadline, text))
    })
}

fn unreachable(url: &str, error: &hyper_util::client::legacy::Error) -> SourceError {
    let why = causes(error);
    match tls_error(error) {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            let text = format!(
                "the certificate of the kubelet at {url} is not trusted: {why}; name the CA that signed it in \
                 pods.kubelet.ca_file (a kubelet that signs its own: insecure_skip_verify)"
            );
            SourceError::server(ServerFailure::Untrusted, text)
        }
        _ => {
            let text = format!(
                "the kubelet at {url} cannot be reached: {why}; check pods.kubelet.url, and that the kubelet runs"
            );
            SourceError::server(ServerFailure::Unreachable, text)
        }
    }
}

/// The error of TLS among the causes. It is inside of I/O errors, which do not name it as their source.
fn tls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(found) = error.downcast_ref() {
        return Some(found);
    }
    let within = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    let within = within.and_then(|within| tls_error(within));
    within.or_else(|| error.source().and_then(tls_error))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn tls() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, SourceError> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    builder.map_err(|error| file_error("pods.kubelet", Path::new(""), error))
}

/// A file that is needed to ask could not be used: which setting names it, what is wrong with it, and what to do.
fn file_error(key: &str, path: &Path, why: impl Display) -> SourceError {
    SourceError::server(ServerFailure::Credentials, format!("{key} {}: {why}", path.display()))
}

/// With what we show who we are, and know whom we ask. It reads all files, and blocks.
fn credentials(settings: &Kubelet) -> Result<(Option<HeaderValue>, ClientConfig), SourceError> {
    let client = match (&settings.client_cert_file, &settings.client_key_file) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(path), None) | (None, Some(path)) => {
            let why = "a certificate needs its key, and a key its certificate; set both or neither";
            return Err(file_error("pods.kubelet.client_cert_file or client_key_file", path, why));
        }
    };
    let token = match &settings.token_file {
        Some(path) => match token(path) {
            Ok(token) => Some(token),
            // The token file has a default: with a certificate it need not exist.
            Err(error) if client.is_some() && error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let why = format!(
                    "{error}; check the path, or set it to \"\" where a client certificate or nothing is needed"
                );
                return Err(file_error("pods.kubelet.token_file", path, why));
            }
        },
        None => None,
    };
    let builder = if settings.insecure_skip_verify {
        tls()?.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked(provider())))
    } else {
        tls()?.with_root_certificates(roots(settings.ca_file.as_deref())?)
    };
    let config = match client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates("pods.kubelet.client_cert_file", certificate)?;
            let secret = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| file_error("pods.kubelet.client_key_file", key, error))?;
            builder
                .with_client_auth_cert(chain, secret)
                .map_err(|error| file_error("pods.kubelet.client_cert_file", certificate, error))?
        }
    };
    Ok((token, config))
}

fn token(path: &Path) -> io::Result<HeaderValue> {
    let mut text = String::new();
    File::open(path)?.take(LONGEST_TOKEN).read_to_string(&mut text)?;
    if text.trim().is_empty() {
        return Err(io::Error::other("it is empty"));
    }
    let mut token = HeaderValue::try_from(format!("Bearer {}", text.trim()))
        .map_err(|_| io::Error::other("it does not contain a token"))?;
    token.set_sensitive(true);
    Ok(token)
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, SourceError> {
    let file = File::open(path).map_err(|error| file_error(key, path, format!("{error}; check the path")))?;
    let all = CertificateDer::pem_reader_iter(BufReader::new(file)).collect::<Result<Vec<_>, _>>();
    match all {
        Ok(all) if all.is_empty() => Err(file_error(key, path, "it has no certificate (PEM)")),
        Ok(all) => Ok(all),
        Err(error) => Err(file_error(key, path, error)),
    }
}

/// The CAs that are trusted: the one of the settings, else those of this machine.
fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, SourceError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca_file else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    for certificate in certificates("pods.kubelet.ca_file", path)? {
        roots.add(certificate).map_err(|error| file_error("pods.kubelet.ca_file", path, error))?;
    }
    Ok(roots)
}

/// Takes any certificate: `insecure_skip_verify`. Signatures are still checked, so that it is one connection to one peer.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
