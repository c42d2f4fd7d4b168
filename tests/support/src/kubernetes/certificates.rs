//! Certificates for a server on 127.0.0.1 and for its clients, each with a CA of its own, new each time.

use std::sync::Arc;

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// What a server needs to speak TLS, and what its clients need to speak to it.
pub(crate) struct Certificates {
    /// Asks for a client's certificate, and takes none for an answer.
    pub(super) acceptor: TlsAcceptor,
    pub(crate) ca_pem: String,
    pub(crate) server_cert_pem: String,
    pub(crate) server_key_pem: String,
    pub(super) client_cert_pem: String,
    pub(super) client_key_pem: String,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let (ca, root) = authority("the CA of the server");
        let (server, server_key) = leaf("kubelet", &["127.0.0.1", "localhost"], &ca);
        let (client_ca, client_root) = authority("the CA of the clients");
        let (client, client_key) = leaf("agent", &[], &client_ca);

        let provider = Arc::new(default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(client_root.der().clone()).expect("a CA");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build();
        let key = PrivatePkcs8KeyDer::from(server_key.serialize_der());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS 1.3")
            .with_client_cert_verifier(verifier.expect("a CA to verify with"))
            .with_single_cert(vec![server.der().clone()], key.into())
            .expect("a certificate and its key");
        Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            ca_pem: root.pem(),
            server_cert_pem: server.pem(),
            server_key_pem: server_key.serialize_pem(),
            client_cert_pem: client.pem(),
            client_key_pem: client_key.serialize_pem(),
        }
    }
}

fn parameters(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut parameters = CertificateParams::new(hosts).expect("hosts that a certificate can name");
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters
}

fn authority(name: &str) -> (Issuer<'static, KeyPair>, Certificate) {
    let mut parameters = parameters(name, &[]);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let certificate = parameters.self_signed(&key).expect("a CA");
    (Issuer::new(parameters, key), certificate)
}

fn leaf(name: &str, hosts: &[&str], issuer: &Issuer<'static, KeyPair>) -> (Certificate, KeyPair) {
    let key = KeyPair::generate().expect("a key");
    let certificate = parameters(name, hosts).signed_by(&key, issuer).expect("a certificate");
    (certificate, key)
}
